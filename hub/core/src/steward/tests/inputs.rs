use starling_model::{Action, BlockedReason, Digest, ErrorCode, Millis};

use crate::change::Change;
use crate::records::InputRecord;
use crate::resources::Kind;
use crate::steward::{Answer, ApplyResources, Delete, Outcome, Request, SourceFile};
use crate::testing::{Hub, TO_PROD, assignment, cluster, cluster_in, key, workspace, yaml};

fn revision(hub: &Hub, name: &str) -> Digest {
    hub.assignment(name).record.revision.expect("a revision")
}

fn with_assignment() -> Hub {
    let mut hub = Hub::new();
    hub.add_clusters(2);
    hub.write("web.yaml", &assignment("web", TO_PROD));
    hub.sync();
    hub
}

#[test]
fn a_changed_version_is_another_revision_and_the_old_one_is_forgotten() {
    let mut hub = with_assignment();
    let (first, uid) = (revision(&hub, "web"), hub.assignment("web").record.uid);
    hub.write("web.yaml", &assignment("web", &TO_PROD.replace("1.0.0", "2.0.0")));
    hub.sync();
    assert_ne!(revision(&hub, "web"), first);
    assert_eq!(hub.assignment("web").record.uid, uid);
    assert_eq!(hub.fleet.revisions().count(), 1);
    assert!(hub.plan("edge-000").tombstones.is_empty());
}

#[test]
fn a_changed_addon_moves_its_assignments_and_a_broken_one_blocks_them() {
    let mut hub = with_assignment();
    let first = revision(&hub, "web");
    let base = [workspace("dev"), crate::testing::addon("podinfo").replace("level: info", "level: debug")];
    hub.write("base.yaml", &base.join("\n---\n"));
    hub.sync();
    let second = revision(&hub, "web");
    assert_ne!(second, first);
    hub.write("base.yaml", &base.join("\n---\n").replace("version: 1.0.0", "version: 1.5.0"));
    hub.sync();
    assert_eq!(revision(&hub, "web"), second, "what is installed stays");
    let blocked = hub.plan("edge-000").entries.remove(0).action;
    assert!(matches!(blocked, Action::Blocked(BlockedReason::VersionNotFound(_))), "{blocked:?}");
    hub.write("base.yaml", &base.join("\n---\n"));
    hub.sync();
    assert_eq!((revision(&hub, "web"), hub.assignment("web").record.blocked.clone()), (second, None));
}

#[test]
fn a_switched_source_kind_retires_the_objects_of_the_old_one() {
    let mut hub = with_assignment();
    let kustomization = crate::testing::addon("podinfo").replacen(
        "helmRepository: {url: 'https://charts.example', chart: podinfo}",
        "ociChart: {url: 'oci://reg.example/podinfo'}",
        1,
    );
    hub.write("base.yaml", &[workspace("dev"), kustomization].join("\n---\n"));
    hub.sync();
    let Action::Render(render) = hub.plan("edge-000").entries.remove(0).action else { panic!("no render") };
    let retires: Vec<_> = render.retires.iter().map(ToString::to_string).collect();
    assert_eq!(retires, ["HelmRepository.source.toolkit.fluxcd.io/starling-addons/web"]);
    hub.write("base.yaml", &[workspace("dev"), crate::testing::addon("podinfo")].join("\n---\n"));
    hub.sync();
    let Action::Render(render) = hub.plan("edge-000").entries.remove(0).action else { panic!("no render") };
    let retires: Vec<_> = render.retires.iter().map(ToString::to_string).collect();
    assert_eq!(retires, ["OCIRepository.source.toolkit.fluxcd.io/starling-addons/web"]);
}

#[test]
fn a_vanished_file_is_shown_with_the_command_that_settles_it() {
    let mut hub = with_assignment();
    hub.files.remove("web.yaml");
    hub.sync();
    let problems = hub.fleet.problems_of(&key(Kind::AddonAssignment, "dev", "web"));
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("web.yaml"), "{problems:?}");
    assert!(problems[0].next.contains("starling delete assignment dev/web"), "{problems:?}");
    hub.write("elsewhere/web.yaml", &assignment("web", TO_PROD));
    hub.sync();
    assert!(hub.fleet.problems().is_empty());
    assert_eq!(hub.assignment("web").input.file, "elsewhere/web.yaml");
}

#[test]
fn bad_documents_leave_what_was_there_and_others_go_on() {
    let mut hub = with_assignment();
    let plans = hub.plans();
    hub.write("web.yaml", &assignment("web", &format!("{TO_PROD}\n  interval: soon")));
    hub.write("more.yaml", &cluster("edge-900", "env: dev"));
    let synced = hub.sync();
    assert_eq!(synced.problems.len(), 1);
    assert_eq!((synced.problems[0].file.as_str(), synced.problems[0].line), ("web.yaml", 1));
    assert!(synced.problems[0].problem.message.starts_with("spec.interval"), "{synced:?}");
    for (id, plan) in plans {
        assert_eq!(hub.plans()[&id].digest(), plan.digest());
    }
    assert!(hub.fleet.cluster_named("dev", "edge-900").is_some());
    assert!(hub.fleet.problems().is_empty(), "{:?}", hub.fleet.problems());
    hub.files.insert("web.yaml".to_owned(), SourceFile { documents: Vec::new(), unreadable: true }.into());
    hub.sync();
    assert!(hub.assignment("web").input.missing.is_none());
}

#[test]
fn a_copy_in_another_file_changes_nothing() {
    let mut hub = with_assignment();
    let position = hub.fleet.position();
    hub.write("a-copy.yaml", &assignment("web", &TO_PROD.replace("1.0.0", "2.0.0")));
    let synced = hub.sync();
    assert_eq!((synced.problems.len(), hub.fleet.position()), (1, position));
    assert_eq!(synced.problems[0].file, "a-copy.yaml");
    hub.files.remove("web.yaml");
    assert_eq!(hub.sync().problems, []);
    assert_eq!(hub.assignment("web").document().spec.version, "2.0.0");
}

#[test]
fn a_copy_is_not_taken_while_the_own_file_cannot_be_read() {
    let mut hub = with_assignment();
    let position = hub.fleet.position();
    hub.write("a-copy.yaml", &assignment("web", &TO_PROD.replace("1.0.0", "2.0.0")));
    hub.files.insert("web.yaml".to_owned(), SourceFile { documents: Vec::new(), unreadable: true }.into());
    let synced = hub.sync();
    assert_eq!((synced.problems.len(), hub.fleet.position()), (1, position));
    assert_eq!(synced.problems[0].problem.message, "its own file web.yaml cannot be read; this copy is not taken");
    hub.files.remove("web.yaml");
    hub.unlisted.insert(String::new());
    assert_eq!((hub.sync().problems.len(), hub.fleet.position()), (1, position));
    hub.unlisted.clear();
    assert_eq!(hub.sync().problems, []);
    assert_eq!(hub.assignment("web").document().spec.version, "2.0.0");
}

#[test]
fn what_is_in_a_folder_that_cannot_be_listed_is_neither_missing_nor_removed() {
    let mut hub = Hub::new();
    hub.add_clusters(1);
    for name in ["web", "api"] {
        hub.write(&format!("apps/{name}.yaml"), &assignment(name, TO_PROD));
    }
    hub.sync();
    let deleted = key(Kind::AddonAssignment, "dev", "api");
    let delete = Delete { key: deleted.clone(), approved_count: Some(1) };
    hub.ask(&Request::Delete(delete)).expect("deleted");
    let files = hub.files.clone();
    hub.files.retain(|file, _| !file.starts_with("apps/"));
    hub.unlisted.insert("apps".to_owned());
    hub.sync();
    assert!(hub.assignment("web").input.missing.is_none() && hub.fleet.deleted(&deleted).is_some());
    hub.unlisted.clear();
    hub.files.clear();
    hub.sync();
    assert!(hub.assignment("web").input.missing.is_some(), "an emptied directory is no error");
    assert!(hub.fleet.deleted(&deleted).is_some(), "and proves nothing");
    hub.files = files;
    hub.sync();
    assert!(hub.fleet.assignment_named("dev", "api").is_none(), "what was deleted does not come back");
    assert!(hub.assignment("web").input.missing.is_none());
}

#[test]
fn a_cluster_under_two_names_is_managed_under_the_first() {
    let mut hub = Hub::new();
    let id = "id: 5492b768-9114-4db9-9df5-a271647019c9";
    hub.write("z.yaml", &cluster_in("dev", "zebra", "env: prod", &format!("{{{id}}}")));
    hub.sync();
    hub.write("a.yaml", &cluster_in("dev", "aardvark", "env: dev", &format!("{{{id}}}")));
    hub.sync();
    let cluster = hub.fleet.cluster(hub.id("zebra")).expect("a cluster");
    assert_eq!(cluster.name().name, "zebra");
    let problems = hub.fleet.problems();
    assert_eq!((problems.len(), problems[0].key.name.as_str()), (1, "aardvark"));
    assert!(problems[0].message.contains("dev/zebra"), "{problems:?}");
    assert_eq!(hub.fleet.managed_clusters().count(), 1);
}

#[test]
fn an_identity_cannot_be_edited() {
    let mut hub = Hub::new();
    hub.add_clusters(1);
    let id = hub.id("edge-000");
    let other = "{id: 5492b768-9114-4db9-9df5-a271647019c9}";
    hub.write("clusters/edge-000.yaml", &cluster_in("dev", "edge-000", "env: prod", other));
    let synced = hub.sync();
    assert_eq!(synced.problems.len(), 1);
    assert!(synced.problems[0].problem.message.contains("immutable"), "{synced:?}");
    assert_eq!(hub.id("edge-000"), id);
}

#[test]
fn a_cluster_moves_between_workspaces() {
    let mut hub = Hub::new();
    let spec = "{id: 5492b768-9114-4db9-9df5-a271647019c9}";
    hub.write("ops.yaml", &workspace("ops"));
    hub.write("c.yaml", &cluster_in("dev", "edge", "env: prod", spec));
    hub.write("web.yaml", &assignment("web", TO_PROD));
    hub.sync();
    let id = hub.id("edge");
    hub.hear_all();
    hub.write("c.yaml", &cluster_in("ops", "edge", "env: prod", spec));
    hub.sync();
    let cluster = hub.fleet.cluster(id).expect("a cluster");
    assert_eq!(cluster.name().to_string(), "ops/edge");
    assert!(hub.fleet.cluster_named("dev", "edge").is_none());
    let plan = &hub.plans()[&id];
    assert_eq!((plan.entries.len(), plan.tombstones.len()), (0, 1), "its old workspace's addon goes: {plan:?}");
}

#[test]
fn applying_tells_what_it_does_and_refuses_what_could_not_be_taken() {
    let mut hub = with_assignment();
    let mut apply = |documents: &[String]| {
        let resources = documents.iter().map(|text| yaml(text)).collect();
        hub.ask(&Request::ApplyResources(ApplyResources { resources, dry_run: true }))
    };
    let answer = apply(&[
        assignment("web", TO_PROD),
        assignment("api", TO_PROD),
        cluster("edge-000", "env: dev"),
        workspace("new"),
        cluster_in("new", "far", "", "{}"),
    ]);
    let Ok(Answer::Checked(checked)) = answer else { panic!("{answer:?}") };
    let outcomes: Vec<_> =
        checked.iter().map(|checked| (checked.key.name.as_str(), checked.outcome, checked.file.as_deref())).collect();
    assert_eq!(
        outcomes,
        [
            ("new", Outcome::Created, None),
            ("edge-000", Outcome::Configured, Some("clusters/edge-000.yaml")),
            ("far", Outcome::Created, None),
            ("api", Outcome::Created, None),
            ("web", Outcome::Unchanged, Some("web.yaml")),
        ]
    );
    let code = |answer: Result<Answer, crate::steward::Refusal>| answer.expect_err("refused").code;
    assert_eq!(code(apply(&[cluster_in("nowhere", "far", "", "{}")])), ErrorCode::InvalidRequest);
    assert_eq!(code(apply(&[workspace("dev"), workspace("dev")])), ErrorCode::InvalidRequest);
    let second_name = cluster_in("dev", "other", "", "{id: '5492b768-9114-4db9-9df5-a271647019c9'}");
    assert!(apply(std::slice::from_ref(&second_name)).is_ok());
    hub.write("other.yaml", &second_name);
    hub.sync();
    let third = cluster_in("dev", "third", "", "{id: '5492b768-9114-4db9-9df5-a271647019c9'}");
    let request = Request::ApplyResources(ApplyResources { resources: vec![yaml(&third)], dry_run: false });
    assert_eq!(code(hub.ask(&request)), ErrorCode::Conflict);
}

#[test]
fn changed_files_are_enough_unless_another_file_or_decision_has_a_say() {
    let mut hub = with_assignment();
    let decide = |hub: &mut Hub| {
        let changed = hub.changed().expect("the rest is known");
        let files = changed.files.len();
        (files, hub.decide(&Request::SyncFiles(changed)).map(|decision| decision.changes.len()))
    };
    assert_eq!(decide(&mut hub), (0, Ok(0)));
    hub.write("web.yaml", &assignment("web", &TO_PROD.replace("1.0.0", "2.0.0")));
    let (files, changes) = decide(&mut hub);
    assert!(files == 1 && changes.is_ok_and(|changes| changes > 0));
    hub.sync();
    hub.files.remove("clusters/edge-000.yaml");
    assert_eq!(decide(&mut hub), (1, Ok(1)), "its source is missing");
    hub.sync();
    hub.write("copy.yaml", &assignment("web", TO_PROD));
    let (_, refused) = decide(&mut hub);
    assert_eq!(refused.expect_err("it is in another file, too").code, ErrorCode::Conflict);
    hub.files.remove("copy.yaml");
    hub.sync();
    let approved = Delete { key: key(Kind::AddonAssignment, "dev", "web"), approved_count: Some(2) };
    hub.ask(&Request::Delete(approved)).expect("deleted");
    let (_, refused) = decide(&mut hub);
    assert_eq!(refused.expect_err("its document is still there").code, ErrorCode::Conflict);
}

#[test]
fn a_cluster_that_moves_to_another_file_loses_its_old_name() {
    let mut hub = with_assignment();
    let id = hub.id("edge-000");
    hub.write("ops.yaml", &workspace("ops"));
    hub.sync();
    // The old file went before the new one came.
    hub.files.remove("clusters/edge-000.yaml");
    hub.sync();
    hub.write("moved.yaml", &cluster_in("ops", "edge-000", "env: prod", &format!("{{id: {id}}}")));
    let changed = hub.changed().expect("the rest is known");
    let refused = hub.decide(&Request::SyncFiles(changed)).expect_err("its old name is in another file");
    assert_eq!(refused.code, ErrorCode::Conflict);
    hub.sync();
    let claims: Vec<String> = hub.fleet.claims(id).map(|key| key.qualified()).collect();
    assert_eq!(claims, ["ops/edge-000"]);
}

#[test]
fn a_file_that_cannot_be_read_for_a_while_still_names_what_it_named() {
    let mut hub = with_assignment();
    let both = [cluster("one", "env: prod"), cluster("two", "env: prod")].join("\n---\n");
    hub.write("pair.yaml", &both);
    hub.sync();
    hub.files.insert("pair.yaml".to_owned(), SourceFile { unreadable: true, ..SourceFile::default() }.into());
    hub.sync();
    hub.write("pair.yaml", &cluster("one", "env: prod"));
    let changed = hub.changed().expect("what it named is known");
    let decision = hub.decide(&Request::SyncFiles(changed)).expect("enough");
    assert_eq!(decision.changes.len(), 1, "the other one is missing");
    hub.sync();
    let two = hub.fleet.input(&key(Kind::ManagedCluster, "dev", "two")).expect("it stays");
    assert!(two.missing.is_some());
}

#[test]
fn of_two_names_that_are_both_missing_the_last_one_counts() {
    let mut hub = with_assignment();
    let id = hub.id("edge-000");
    let old = (*hub.fleet.cluster(id).expect("a cluster").record).clone();
    let renamed = yaml(&cluster_in("dev", "renamed", "env: prod", &format!("{{id: {id}}}")));
    let new = InputRecord { resource: renamed, since: Millis(u64::MAX), missing: Some(Millis(6)), ..old.clone() };
    hub.fleet.apply(&Change::PutInput(InputRecord { missing: Some(Millis(5)), ..old }));
    hub.fleet.apply(&Change::PutInput(new));
    assert_eq!(hub.fleet.cluster(id).expect("still a cluster").name().name, "renamed");
}
