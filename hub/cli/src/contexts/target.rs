//! From arguments, environment and contexts to the one hub that a command asks.

use std::fs;
use std::path::{Path, PathBuf};

use super::file::{Context, ContextFile};
use crate::arguments::Global;
use crate::failure::{Exit, Failure};

/// The port of a server that names none.
const DEFAULT_PORT: u16 = 8443;

/// Where the hub is and how to talk to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The host, without brackets.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    /// The authorities to trust, in PEM.
    pub(crate) ca_pem: Vec<u8>,
    /// The administrator's token.
    pub(crate) token: String,
}

/// Returns the path of the file of contexts.
///
/// # Errors
/// When there is no home directory to find it in.
pub(crate) fn context_path(global: &Global) -> Result<PathBuf, Failure> {
    if let Some(path) = &global.config {
        return Ok(path.clone());
    }
    let directory = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = directory("XDG_CONFIG_HOME").or_else(|| directory("HOME").map(|home| home.join(".config")));
    config.map(|config| config.join("starling/config.yaml")).ok_or_else(|| {
        Failure::new(Exit::Usage, "neither HOME nor XDG_CONFIG_HOME says where contexts are kept")
            .next("name a file with --config or STARLING_CONFIG")
    })
}

/// Finds the hub to ask; what is given as an argument or in the environment wins over the context.
///
/// # Errors
/// Says what is missing and how to get it.
pub(crate) fn resolve(global: &Global) -> Result<Target, Failure> {
    let context = match (&global.server, &global.token_file, &global.ca) {
        // Everything is given: a broken file of contexts is none of our business.
        (Some(_), Some(_), Some(_)) if global.context.is_none() => Context::default(),
        _ => chosen_context(global)?,
    };
    let server = global.server.clone().unwrap_or_else(|| context.server.clone());
    if server.is_empty() {
        return Err(Failure::usage(format!("context {:?} names no server", context.name))
            .next(format!("starling config set-context {} --server HOST:PORT", context.name)));
    }
    let (host, port) = split_server(&server)?;
    let ca_pem = match global.ca.as_deref().or(context.ca_file.as_deref()) {
        Some(path) if global.ca.is_some() || context.ca_pem.is_empty() => read(path, "authorities")?,
        _ if !context.ca_pem.is_empty() => context.ca_pem.into_bytes(),
        _ => {
            return Err(Failure::usage(format!("no authority is named to trust {server} by"))
                .next("name a PEM file with --ca, or take the hub's own context with `starling config import <state>/admin.yaml`"));
        }
    };
    let Some(token_file) = global.token_file.as_deref().or(context.token_file.as_deref()) else {
        return Err(Failure::usage(format!("no token file is named for {server}"))
            .next("name it with --token-file; the hub's own is <state>/keys/admin.token"));
    };
    let token = String::from_utf8(read(token_file, "token")?).unwrap_or_default().trim().to_owned();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::new(Exit::Unreachable, format!("{} holds no token", token_file.display()))
            .next("the hub writes its administrator's token to <state>/keys/admin.token"));
    }
    Ok(Target { host, port, ca_pem, token })
}

fn chosen_context(global: &Global) -> Result<Context, Failure> {
    let path = context_path(global)?;
    let file = ContextFile::load(&path)?;
    // Enough was given to do without a context: what is missing is named precisely later.
    if file.is_none() && global.server.is_some() && global.context.is_none() {
        return Ok(Context::default());
    }
    let Some(file) = file else {
        return Err(Failure::usage(format!("no hub is configured: {} does not exist", path.display())).next(
            "run `starling config import <state>/admin.yaml` with the state directory of a hub, or pass it as --config",
        ));
    };
    match global.context.as_deref().unwrap_or(&file.current_context) {
        "" => Err(Failure::usage(format!("{} has no current context", path.display()))
            .next("choose one: `starling config get-contexts`, then `starling config use-context NAME`")),
        name => file.get(name).cloned(),
    }
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| {
        Failure::new(Exit::Unreachable, format!("cannot read the {what} in {}: {error}", path.display()))
            .next("`starling config view` shows which files the context names")
    })
}

/// Reads `host`, `host:port`, `[v6]:port`, each with or without `https://`.
fn split_server(server: &str) -> Result<(String, u16), Failure> {
    let wrong = || Failure::usage(format!("{server:?} is not HOST:PORT"));
    let address = server.strip_prefix("https://").unwrap_or(server).trim_end_matches('/');
    let (host, port) = if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
        (host, rest.strip_prefix(':'))
    } else {
        match address.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, Some(port)),
            _ => (address, None),
        }
    };
    let port = port.map_or(Ok(DEFAULT_PORT), str::parse).map_err(|_| wrong())?;
    if host.is_empty() || host.contains(['/', ' ', '@']) {
        return Err(wrong());
    }
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::terminal::ColorChoice;

    fn global(config: &Path) -> Global {
        Global {
            config: Some(config.to_owned()),
            context: None,
            server: None,
            token_file: None,
            ca: None,
            timeout: Duration::from_secs(1),
            color: ColorChoice::Never,
        }
    }

    #[test]
    fn servers_are_read() {
        for (text, host, port) in [
            ("hub:8443", "hub", 8443),
            ("hub", "hub", 8443),
            ("https://hub.example:443/", "hub.example", 443),
            ("[::1]:9000", "::1", 9000),
            ("::1", "::1", 8443),
        ] {
            assert_eq!(split_server(text).unwrap(), (host.to_owned(), port), "{text}");
        }
        for text in ["", ":1", "hub:x", "http://hub:1", "[::1"] {
            assert!(split_server(text).is_err(), "{text}");
        }
    }

    #[test]
    fn without_a_context_the_error_says_how_to_get_one() {
        let scratch = tempfile::tempdir().unwrap();
        let failure = resolve(&global(&scratch.path().join("none.yaml"))).unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        assert!(failure.to_string().contains("no hub is configured"), "{failure}");
    }

    #[test]
    fn arguments_win_over_the_context() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("admin.yaml");
        fs::write(
            &path,
            "current-context: a\ncontexts:\n- {name: a, server: 'one:1', ca-pem: pem, token-file: token}\n",
        )
        .unwrap();
        fs::write(scratch.path().join("token"), "secret\n").unwrap();
        let target = resolve(&global(&path)).unwrap();
        assert_eq!((target.host.as_str(), target.port, target.token.as_str()), ("one", 1, "secret"));
        assert_eq!(target.ca_pem, b"pem");
        let given = Global { server: Some("two:2".into()), ..global(&path) };
        assert_eq!(resolve(&given).unwrap().host, "two");
        let unknown = Global { context: Some("b".into()), ..global(&path) };
        assert_eq!(resolve(&unknown).unwrap_err().exit(), Exit::NotFound);
    }
}
