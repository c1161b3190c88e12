//! crane: a layer becomes an image on a registry on loopback, and from there a file or an image in another registry.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use starling_realparts::{Launch, Port, Process, http_get_ok};

use super::layer::{Layer, USER, compress};
use super::{Image, shared_file};

const READY_WITHIN: Duration = Duration::from_secs(30);

/// crane with a registry of its own.
#[derive(Debug)]
pub(super) struct Assembler {
    crane: PathBuf,
    output: PathBuf,
    platform: &'static str,
    revision: String,
    port: Port,
    _registry: Process,
}

/// An image that was assembled.
#[derive(Debug)]
pub(super) struct Assembled {
    /// Where it is on the registry on loopback.
    pub(super) reference: String,
    /// The manifest's digest.
    pub(super) digest: String,
    /// The size of the compressed layer, which is what a node fetches.
    pub(super) layer_bytes: usize,
    /// The OCI archive.
    pub(super) archive: PathBuf,
}

impl Assembler {
    /// Starts the registry; archives go into `output`.
    pub(super) fn start(crane: PathBuf, output: &Path, platform: &'static str, revision: String) -> Result<Self> {
        let work = output.join("work");
        if work.exists() {
            fs::remove_dir_all(&work).with_context(|| format!("empty {}", work.display()))?;
        }
        let blobs = work.join("blobs");
        fs::create_dir_all(&blobs).with_context(|| format!("create {}", blobs.display()))?;
        let output = fs::canonicalize(output).with_context(|| format!("find {}", output.display()))?;
        let port = Port::reserve()?;
        let launch = Launch::new("registry", &crane, &output.join("work"))
            .args(["registry", "serve", "--address", &port.address(), "--disk"])
            .arg(output.join("work/blobs"));
        let registry = Process::start(launch)?;
        registry.wait_until("serves", READY_WITHIN, || http_get_ok(port.number(), "/v2/"))?;
        Ok(Self { crane, output, platform, revision, port, _registry: registry })
    }

    /// Makes the image of a program and writes its archive.
    pub(super) fn assemble(&self, image: Image, tag: &str, program: &[u8]) -> Result<Assembled> {
        let work = self.output.join("work");
        let (archive, compressed) =
            (work.join(image.name()).with_extension("tar"), work.join(image.name()).with_extension("tar.gz"));
        fs::write(&archive, layer(image, program)?.tar()?).context("write the layer")?;
        compress(&archive, &compressed)?;
        let reference = format!("{}/{}:{tag}", self.port.address(), image.name());
        let compressed_path = compressed.to_str().context("the folder's name is UTF-8")?;
        self.crane(&["append", "--oci-empty-base", "--new_layer", compressed_path, "--new_tag", &reference])?;
        self.configure(image, tag, &reference)?;
        let digest = self.crane(&["digest", &reference])?;
        let archive = self.archive(image, tag, &reference)?;
        let layer_bytes = usize::try_from(fs::metadata(&compressed).context("measure the layer")?.len())?;
        Ok(Assembled { reference, digest, layer_bytes, archive })
    }

    /// Copies an image to another registry and returns where it is then.
    pub(super) fn push(&self, assembled: &Assembled, destination: &str) -> Result<String> {
        self.crane(&["copy", &assembled.reference, destination])?;
        Ok(format!("{destination}@{}", assembled.digest))
    }

    /// Runs crane and returns what it prints.
    pub(super) fn crane(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.crane).args(arguments).output().context("run crane")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "crane {} failed ({})\n{errors}", arguments.join(" "), output.status);
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Says how the image is run and what it is.
    fn configure(&self, image: Image, tag: &str, reference: &str) -> Result<()> {
        let (entrypoint, user) = (format!("/{}", image.program()), format!("{USER}:{USER}"));
        let about = [
            ("title", image.name()),
            ("description", image.description()),
            ("version", tag),
            ("revision", &self.revision),
            ("source", env!("CARGO_PKG_REPOSITORY")),
            ("licenses", env!("CARGO_PKG_LICENSE")),
        ];
        let labels: Vec<String> =
            about.iter().map(|(key, value)| format!("org.opencontainers.image.{key}={value}")).collect();
        let mut arguments = vec!["mutate", reference, "--tag", reference, "--entrypoint", &entrypoint, "--user", &user];
        arguments.extend(["--workdir", "/", "--set-platform", self.platform]);
        labels.iter().for_each(|label| arguments.extend(["--label", label]));
        image.ports().iter().for_each(|port| arguments.extend(["--exposed-ports", port]));
        self.crane(&arguments).map(|_| ())
    }

    /// Writes the image as an archive of an OCI image layout, which container engines and nodes load.
    fn archive(&self, image: Image, tag: &str, reference: &str) -> Result<PathBuf> {
        let layout = self.output.join("work").join(format!("{}-layout", image.name()));
        self.crane(&[
            "pull",
            "--format",
            "oci",
            "--annotate-ref",
            reference,
            layout.to_str().context("the folder's name is UTF-8")?,
        ])?;
        // The name that it was assembled under is nobody's.
        let index = layout.join("index.json");
        let text = fs::read_to_string(&index).context("read the layout's index")?;
        fs::write(&index, text.replace(reference, &format!("{}:{tag}", image.name()))).context("name the image")?;
        let archive = self.output.join(format!("{}-{tag}.oci.tar", image.name()));
        fs::write(&archive, read_layout(&layout)?.tar()?).with_context(|| format!("write {}", archive.display()))?;
        Ok(archive)
    }
}

/// What is in an image: its program, the names of its user, and the folders that it writes to.
pub(super) fn layer(image: Image, program: &[u8]) -> Result<Layer> {
    let layer = Layer::default()
        .file("etc/passwd", 0o644, shared_file("etc/passwd")?)
        .file("etc/group", 0o644, shared_file("etc/group")?)
        .folder("tmp", 0o1777, 0)
        .file(image.program(), 0o755, program.to_vec());
    Ok(image.folders().iter().fold(layer, |layer, folder| layer.folder(folder, 0o700, USER)))
}

fn read_layout(folder: &Path) -> Result<Layer> {
    let mut layer = Layer::default();
    let blobs = fs::read_dir(folder.join("blobs/sha256")).context("list the layout's blobs")?;
    let names: Vec<String> = blobs
        .map(|entry| Ok(format!("blobs/sha256/{}", entry?.file_name().to_string_lossy())))
        .collect::<Result<_>>()?;
    let named = ["index.json", "oci-layout"].map(str::to_owned);
    for name in named.into_iter().chain(names) {
        let content = fs::read(folder.join(&name)).with_context(|| format!("read {name} of the layout"))?;
        layer = layer.file(&name, 0o644, content);
    }
    Ok(layer)
}
