//! People and the hub write one directory at the same time: whoever comes last wins, and nothing is there twice.

use anyhow::{Context, Result, ensure};
use starling_tests::steps::{expect, stays, wait};
use starling_tests::views::Problem;

use crate::bed::{Bed, cluster, on_a_hub};
use crate::documents::assignment;

#[test]
fn a_deletion_right_after_an_edit_by_hand_deletes_what_was_edited() -> Result<()> {
    on_a_hub("files-delete", &[], |bed| {
        let machine = cluster("edge");
        let _agent = bed.run_agent(&machine, &bed.adopt("edge", &[])?, "identity");
        bed.write("base.yaml", &assignment("base", "{}"))?;
        bed.wait_ready("base", 1)?;
        bed.write("base.yaml", &assignment("base", "{}").replace("1.0.0", "1.1.0"))?;
        expect(&bed.hub, &["delete", "assignment", "base", "--approve", "1"], 0, &["deleted"])?;
        wait("the install to be gone", || {
            ensure!(machine.objects().is_empty(), "{:?}", machine.objects().keys());
            Ok(())
        })?;
        stays("what was deleted", std::time::Duration::from_secs(5), || {
            ensure!(bed.assignment("base").is_err(), "it is back: {:?}", bed.assignment("base")?);
            Ok(())
        })?;
        ensure!(!bed.hub.options().directory.join("base.yaml").exists(), "its document is still there");
        Ok(())
    })
}

#[test]
fn an_apply_right_after_an_edit_by_hand_leaves_one_document() -> Result<()> {
    on_a_hub("files-apply", &[], |bed| {
        bed.write("base.yaml", &assignment("base", "{}"))?;
        wait("the document to be read", || bed.assignment("base").map(drop))?;
        bed.write("base.yaml", &assignment("base", "{}").replace("1.0.0", "1.1.0"))?;
        let file = bed.hub.options().state.join("applied.yaml");
        std::fs::write(&file, assignment("base", "{matchLabels: {tier: edge}}")).context("write a file to apply")?;
        expect(&bed.hub, &["apply", "-f", &file.display().to_string()], 0, &["base"])?;
        wait("what was applied to be there", || {
            let base = bed.assignment("base")?;
            ensure!(base.version == "1.0.0", "{base:?}");
            Ok(())
        })?;
        stays("the only document", std::time::Duration::from_secs(4), || nothing_is_wrong(bed))
    })
}

#[test]
fn a_directory_that_is_away_for_a_while_changes_nothing() -> Result<()> {
    on_a_hub("files-away", &[], |bed| {
        let machine = cluster("edge");
        let _agent = bed.run_agent(&machine, &bed.adopt("edge", &[])?, "identity");
        bed.write("base.yaml", &assignment("base", "{}"))?;
        bed.wait_ready("base", 1)?;
        let directory = bed.hub.options().directory.clone();
        let away = directory.with_extension("away");
        std::fs::rename(&directory, &away).context("move the directory away")?;
        wait("the directory to be missed", || {
            let problems: Vec<Problem> = bed.list(&[])?;
            ensure!(!problems.is_empty(), "nothing is said");
            Ok(())
        })?;
        let base = bed.assignment("base")?;
        ensure!(!base.source_missing && base.ready == 1, "what cannot be read is not missing: {base:?}");
        ensure!(machine.removals().is_empty(), "{:?}", machine.removals());
        std::fs::rename(&away, &directory).context("put the directory back")?;
        bed.write("more.yaml", &assignment("more", "{}"))?;
        bed.wait_ready("more", 1)?;
        wait("nothing to be wrong", || nothing_is_wrong(bed))
    })
}

fn nothing_is_wrong(bed: &Bed) -> Result<()> {
    let problems: Vec<Problem> = bed.list(&[])?;
    ensure!(problems.is_empty(), "{problems:?}");
    Ok(())
}
