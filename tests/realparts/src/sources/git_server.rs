//! Git over smart HTTP on loopback, read-only for clients: `git http-backend` as CGI. Commits are made on this side.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use tokio::io::AsyncWriteExt;

use crate::command::{clean_command, run};
use crate::error::{IoContext, Result, create_folder};
use crate::programs::require_tool;
use crate::sources::helm::utf8;
use crate::sources::loopback_server::LoopbackServer;

const GIT_INSTALL: &str = "install Git (Debian: `apt-get install git`, Fedora: `dnf install git`)";
const BRANCH: &str = "main";
/// More than any request for a test's repository: the client only tells what it has and wants.
const LARGEST_REQUEST_BYTES: usize = 16 << 20;

/// A running Git server; stopped on drop.
#[derive(Debug)]
pub struct GitServer {
    server: LoopbackServer,
    folder: PathBuf,
}

impl GitServer {
    /// Serves the repositories in `<folder>/repositories`; none at first.
    pub fn start(folder: &Path) -> Result<Self> {
        require_tool("git", "--version", GIT_INSTALL)?;
        let folder = create_folder(folder)?;
        let repositories = create_folder(&folder.join("repositories"))?;
        let backend = Arc::new(Backend { home: folder.clone(), repositories });
        let router =
            Router::new().fallback(serve).layer(DefaultBodyLimit::max(LARGEST_REQUEST_BYTES)).with_state(backend);
        Ok(Self { server: LoopbackServer::start("git-server", router)?, folder })
    }

    /// What a GitRepository's `spec.url` takes for a repository; the branch is `main`.
    pub fn url(&self, repository: &str) -> String {
        format!("{}/{repository}.git", self.server.url())
    }

    /// Writes files (path in the repository, content) and commits them to `main`; makes the repository when it is new.
    /// Returns the commit's hash.
    pub fn commit(&self, repository: &str, message: &str, files: &[(&str, &str)]) -> Result<String> {
        self.change(repository, message, |work_tree| {
            for (path, content) in files {
                let path = work_tree.join(path);
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).at_path("create", parent)?;
                }
                fs::write(&path, content).at_path("write", &path)?;
            }
            Ok(())
        })
    }

    /// Removes files and commits that to `main`. Returns the commit's hash.
    pub fn remove(&self, repository: &str, message: &str, paths: &[&str]) -> Result<String> {
        self.change(repository, message, |work_tree| {
            paths.iter().try_for_each(|path| {
                let path = work_tree.join(path);
                fs::remove_file(&path).at_path("remove", &path)
            })
        })
    }

    fn change(&self, repository: &str, message: &str, edit: impl FnOnce(&Path) -> Result<()>) -> Result<String> {
        let bare = self.folder.join("repositories").join(format!("{repository}.git"));
        let work_tree = create_folder(&self.folder.join("work-trees").join(repository))?;
        if !bare.exists() {
            self.git(&["init", "--quiet", "--bare", "--initial-branch", BRANCH, utf8(&bare)?])?;
        }
        edit(&work_tree)?;
        let git_dir = format!("--git-dir={}", utf8(&bare)?);
        let work_tree = format!("--work-tree={}", utf8(&work_tree)?);
        let in_repository = [git_dir.as_str(), work_tree.as_str()];
        self.git(&[in_repository.as_slice(), &["add", "--all", "."]].concat())?;
        self.git(&[in_repository.as_slice(), &["commit", "--quiet", "--allow-empty", "-m", message]].concat())?;
        let hash = self.git(&[in_repository.as_slice(), &["rev-parse", "HEAD"]].concat())?;
        Ok(hash.trim().to_owned())
    }

    fn git(&self, arguments: &[&str]) -> Result<String> {
        let mut git = clean_command("git", &self.folder);
        git.env("GIT_CONFIG_NOSYSTEM", "1").args(["-c", "user.name=realparts", "-c", "user.email=realparts@localhost"]);
        if let Some(work_tree) = arguments.iter().find_map(|argument| argument.strip_prefix("--work-tree=")) {
            git.current_dir(work_tree);
        }
        run(git.args(arguments), "")
    }
}

struct Backend {
    home: PathBuf,
    repositories: PathBuf,
}

async fn serve(
    State(backend): State<Arc<Backend>>,
    method: Method,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let command = backend.cgi(&method, uri.path(), &query.unwrap_or_default(), &headers);
    let answer = match run_cgi(command, &body).await {
        Ok(output) => parse_cgi(&output),
        Err(error) => Err(error.to_string()),
    };
    answer.unwrap_or_else(|problem| {
        let mut response = Response::new(Body::from(format!("git http-backend: {problem}\n")));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    })
}

impl Backend {
    /// The variables are those of the CGI specification (RFC 3875) that git-http-backend(1) reads.
    fn cgi(&self, method: &Method, path: &str, query: &str, headers: &HeaderMap) -> Command {
        let mut command = clean_command("git", &self.home);
        command
            .arg("http-backend")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_PROJECT_ROOT", &self.repositories)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("PATH_INFO", path)
            .env("QUERY_STRING", query)
            .env("REQUEST_METHOD", method.as_str());
        let passed_on = [
            ("content-type", "CONTENT_TYPE"),
            ("content-encoding", "HTTP_CONTENT_ENCODING"),
            ("git-protocol", "GIT_PROTOCOL"),
        ];
        for (header, variable) in passed_on {
            if let Some(value) = headers.get(header).and_then(|value| value.to_str().ok()) {
                command.env(variable, value);
            }
        }
        command
    }
}

async fn run_cgi(mut command: Command, body: &[u8]) -> io::Result<Vec<u8>> {
    command
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn()?;
    let stdin = child.stdin.take();
    let send_body = async move {
        if let Some(mut stdin) = stdin {
            // The program may answer without reading all of it; what it says then is the answer.
            let _ = stdin.write_all(body).await;
        }
    };
    let ((), output) = tokio::join!(send_body, child.wait_with_output());
    Ok(output?.stdout)
}

/// Splits a CGI answer into headers and body; the header `Status` is the status, 200 when absent.
fn parse_cgi(output: &[u8]) -> Result<Response<Body>, String> {
    let (head, body) = split_head(output).ok_or("no empty line after the headers")?;
    let head = std::str::from_utf8(head).map_err(|error| error.to_string())?;
    let mut response = Response::builder();
    for line in head.lines() {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("no header: {line}"))?;
        response = if name.eq_ignore_ascii_case("status") {
            let code = value.split_whitespace().next().unwrap_or_default();
            response.status(code.parse::<u16>().map_err(|error| format!("status {value}: {error}"))?)
        } else {
            response.header(name.trim(), value.trim())
        };
    }
    response.body(Body::from(body.to_vec())).map_err(|error| error.to_string())
}

fn split_head(output: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((&output[..end], &output[end + 4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgi_answers_are_split_into_status_headers_and_body() {
        let response = parse_cgi(b"Status: 404 Not Found\r\nContent-Type: text/plain\r\n\r\nno\r\n\r\n").unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()["content-type"], "text/plain");
        assert_eq!(parse_cgi(b"Content-Type: a/b\r\n\r\n").unwrap().status(), StatusCode::OK);
        assert!(parse_cgi(b"Content-Type: a/b\r\n").is_err());
    }

    #[test]
    fn commits_can_be_cloned_and_removals_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let server = GitServer::start(&folder.path().join("server")).unwrap();
        let first = server.commit("apps", "first", &[("a/b.yaml", "one\n"), ("c.yaml", "two\n")]).unwrap();
        let clone = folder.path().join("clone");
        let url = server.url("apps");
        server.git(&["clone", "--quiet", &url, utf8(&clone).unwrap()]).unwrap();
        assert_eq!(fs::read_to_string(clone.join("a/b.yaml")).unwrap(), "one\n");

        let second = server.remove("apps", "second", &["c.yaml"]).unwrap();
        assert_ne!(first, second);
        server.git(&["-C", utf8(&clone).unwrap(), "pull", "--quiet"]).unwrap();
        assert!(!clone.join("c.yaml").exists());
        assert!(clone.join("a/b.yaml").exists());
    }
}
