//! The committed code equals what the protos generate. `BLESS=1 cargo test -p starling-proto` rewrites it.

use std::fs;
use std::path::{Path, PathBuf};

use prost::Message as _;

#[test]
fn committed_code_equals_the_protos() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scratch = tempfile::tempdir().expect("make a scratch directory");
    generate(root, scratch.path());
    for name in ["starling.v1.rs", "starling.v1.binpb"] {
        let fresh = fs::read(scratch.path().join(name)).expect("read the fresh code");
        let committed = root.join("src/gen").join(name);
        if std::env::var_os("BLESS").is_some() {
            fs::write(&committed, &fresh).expect("rewrite the committed code");
        }
        let same = fs::read(&committed).is_ok_and(|old| old == fresh);
        assert!(
            same,
            "{} is not what the protos generate: run BLESS=1 cargo test -p starling-proto",
            committed.display()
        );
    }
}

fn generate(root: &Path, out: &Path) {
    let mut protos: Vec<PathBuf> = fs::read_dir(root.join("starling/v1"))
        .expect("list the protos")
        .map(|entry| entry.expect("read an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "proto"))
        .collect();
    protos.sort();
    let descriptors = protox::compile(&protos, [root]).expect("compile the protos");
    fs::write(out.join("starling.v1.binpb"), descriptors.encode_to_vec()).expect("write the descriptors");
    tonic_prost_build::configure()
        .out_dir(out)
        // Channels are made by the shells, and the constructor would clash with the call of its name.
        .build_transport(false)
        // With small buffers: a hub holds a pair of them for each session.
        .codec_path("crate::codec::SmallCodec")
        .btree_map(".")
        // Shared by all sessions that send the same render, and kept as the slice of the message that they came in.
        .bytes(".starling.v1.Render.objects")
        .bytes(".starling.v1.Fragment.content")
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)
        .expect("generate the code");
}
