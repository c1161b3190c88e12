//! Documents that are wrong: the error is shown with its place, what was there before stays, the others go on.

use anyhow::{Context, Result, ensure};
use starling_tests::steps::{expect, wait};
use starling_tests::views::Problem;

use crate::bed::{Bed, cluster, on_a_hub};
use crate::documents::assignment;

#[test]
fn a_malformed_file_keeps_what_it_said_before_and_the_others_go_on() -> Result<()> {
    on_a_hub("input-malformed", &[], |bed| {
        let machine = cluster("edge");
        let _agent = bed.run_agent(&machine, &bed.adopt("edge", &[])?, "identity");
        bed.write("base.yaml", &assignment("base", "{}"))?;
        bed.wait_ready("base", 1)?;
        let applied = machine.objects();

        bed.write(
            "base.yaml",
            "apiVersion: starling.dev/v1alpha1\nkind: AddonAssignment\nmetadata: {name: base\nspec: [\n",
        )?;
        let problem = problem_in(bed, "base.yaml")?;
        ensure!(problem.line >= 3 && problem.column >= 1 && !problem.message.is_empty(), "{problem:?}");
        bed.write("more.yaml", &assignment("more", "{}"))?;
        bed.wait_ready("more", 1)?;
        let base = bed.assignment("base")?;
        ensure!(!base.source_missing && base.applied == 1, "what cannot be read is not missing: {base:?}");
        ensure!(machine.removals().is_empty(), "{:?}", machine.removals());
        ensure!(applied.keys().all(|key| machine.objects().contains_key(key)), "what was applied stays");
        expect(&bed.hub, &["get", "problems"], 0, &["base.yaml:"])?;
        expect(&bed.hub, &["status"], 0, &["Problems:   1"])?;

        bed.write("base.yaml", &assignment("base", "{}").replace("1.0.0", "1.1.0"))?;
        wait("the mended file to be taken", || {
            let base = bed.assignment("base")?;
            let problems: Vec<Problem> = bed.list(&[])?;
            ensure!(base.version == "1.1.0" && base.applied == 1 && problems.is_empty(), "{base:?} {problems:?}");
            Ok(())
        })
    })
}

#[test]
fn unknown_fields_and_values_are_told_with_their_place() -> Result<()> {
    on_a_hub("input-unknown", &[], |bed| {
        let good = assignment("good", "{}");
        // The second document of the file: its neighbour is taken.
        let typo = good.replace("name: good", "name: typo").replace("  version: 1.0.0", "  verison: 1.0.0");
        bed.write("two.yaml", &format!("{good}---\n{typo}"))?;
        let problem = problem_in(bed, "two.yaml")?;
        let line = 1 + good.lines().count() + 6;
        ensure!((problem.line, problem.column) == (line as u64, 3), "line {line}, column 3: {problem:?}");
        ensure!(problem.message.contains("verison"), "{problem:?}");
        bed.assignment("good")?;

        // Right as a document, wrong in the fleet.
        bed.write("nobody.yaml", &assignment("nobody", "{}").replace("name: web", "name: nobody"))?;
        bed.write("newest.yaml", &assignment("newest", "{}").replace("1.0.0", "9.9.9"))?;
        bed.write("homeless.yaml", &assignment("homeless", "{}").replace("starling-platform", "nowhere"))?;
        for (name, words, next) in [
            ("nobody", "nobody", "write an Addon"),
            ("newest", "9.9.9", "starling get addons"),
            ("homeless", "workspace nowhere does not exist", "write a Workspace"),
        ] {
            wait(&format!("{name} to be told"), || {
                let problems: Vec<Problem> = bed.list(&[])?;
                let told = |problem: &Problem| {
                    problem.name == name && problem.message.contains(words) && problem.next.contains(next)
                };
                ensure!(problems.iter().any(told), "{problems:?}");
                Ok(())
            })?;
        }
        applying_is_checked_as_well(bed)
    })
}

#[test]
fn a_cluster_under_two_names_in_documents_keeps_the_first() -> Result<()> {
    on_a_hub("input-two-names", &[], |bed| {
        let machine = cluster("edge");
        let adoption = bed.adopt("edge", &[])?;
        let _agent = bed.run_agent(&machine, &adoption, "identity");
        bed.wait_live("edge")?;
        let second = format!(
            "apiVersion: starling.dev/v1alpha1\nkind: ManagedCluster\nmetadata: {{name: again, namespace: factory}}\n\
             spec: {{id: {}}}\n",
            adoption.cluster_id
        );
        bed.write("again.yaml", &second)?;
        wait("the second name to be told", || {
            let problems: Vec<Problem> = bed.list(&[])?;
            let told = |problem: &Problem| {
                problem.name == "again" && problem.message.contains("already managed as retail/edge")
            };
            ensure!(problems.iter().any(told), "{problems:?}");
            Ok(())
        })?;
        bed.write("base.yaml", &assignment("base", "{}"))?;
        bed.wait_ready("base", 1)?;
        bed.wait_live("edge")
    })
}

fn applying_is_checked_as_well(bed: &Bed) -> Result<()> {
    let file = bed.hub.options().state.join("applied.yaml");
    let path = file.display().to_string();
    std::fs::write(&file, assignment("applied", "{}").replace("  version:", "  verison:")).context("write")?;
    expect(&bed.hub, &["apply", "-f", &path], 2, &["verison", "line 6"])?;
    // Larger than any message that the hub takes.
    let huge = format!("{}  values: {{text: {:?}}}\n", assignment("applied", "{}"), "x".repeat(20 << 20));
    std::fs::write(&file, huge).context("write")?;
    let printed = bed.hub.starling(&["apply", "-f", &path])?;
    ensure!(printed.code != 0 && printed.stderr.contains("error:") && printed.stderr.len() < 4096, "{printed:?}");
    // Within a message, beyond a document.
    let large = format!("{}  values: {{text: {:?}}}\n", assignment("applied", "{}"), "x".repeat(600 << 10));
    std::fs::write(&file, large).context("write")?;
    expect(&bed.hub, &["apply", "-f", &path], 2, &["is the limit"])?;
    std::fs::write(&file, assignment("applied", "{}")).context("write")?;
    expect(&bed.hub, &["apply", "-f", &path], 0, &["applied", "created"])?;
    expect(&bed.hub, &["apply", "-f", &path], 0, &["unchanged"])?;
    Ok(())
}

fn problem_in(bed: &Bed, file: &str) -> Result<Problem> {
    wait(&format!("the problem in {file} to be told"), || {
        let problems: Vec<Problem> = bed.list(&[])?;
        let found = problems.iter().find(|problem| problem.file.ends_with(file) && problem.line > 0);
        found.cloned().with_context(|| format!("{problems:?}"))
    })
}
