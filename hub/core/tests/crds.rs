//! The chart's CustomResourceDefinitions are those of the types. `cargo xtask crds` rewrites them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use starling_hub_core::resources::Kind;
use starling_hub_core::resources::crd::custom_resource_definition;

const HEAD: &str =
    "# Generated from hub/core/src/resources by `cargo xtask crds`: change the types there, not this file.\n";

#[test]
fn the_charts_definitions_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/starling-hub/files/crds");
    let is_blessing = std::env::var_os("BLESS").is_some();
    let mut expected = BTreeSet::new();
    for kind in Kind::ALL {
        let yaml = serde_saphyr::to_string(&custom_resource_definition(kind)).expect("a definition is YAML");
        let fresh = format!("{HEAD}{yaml}");
        let name = format!("starling.dev_{}.yaml", kind.plural());
        let path = folder.join(&name);
        expected.insert(name);
        if is_blessing {
            fs::create_dir_all(&folder).expect("make the folder of the definitions");
            fs::write(&path, &fresh).expect("write a definition");
        }
        let same = fs::read_to_string(&path).is_ok_and(|committed| committed == fresh);
        assert!(same, "{} is not what the types say: run cargo xtask crds", path.display());
    }
    let entries = fs::read_dir(&folder).expect("list the definitions");
    let found: BTreeSet<String> =
        entries.map(|entry| entry.expect("read an entry").file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(found, expected, "a definition of no kind");
}
