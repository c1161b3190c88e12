//! Revisions: what an assignment renders to, whatever the cluster, and what the step from the one before removes.

use std::collections::BTreeSet;
use std::sync::Arc;

use starling_model::labels::{DEFAULT_ADDON_NAMESPACE, SYSTEM_NAMESPACE};
use starling_model::plan::Render;
use starling_model::{BlockedReason, Digest, DigestWriter, InstallKey, Object, ObjectKey, ResourceName, Uid};

use super::{RENDERER_VERSION, objects};
use crate::fleet::Fleet;
use crate::records::{DOCUMENT_BYTES, RevisionRecord};
use crate::resources::{Addon, AddonAssignment, AddonVersion, PLATFORM_NAMESPACE, Workspace};

/// The namespaces that Starling itself lives in: the agent's and the hub's, and that of the hub's own resources.
///
/// No assignment puts its objects there, on any cluster: on the hub's own, a release there could take over the hub's, and take
/// it along when it goes.
pub const OWN_NAMESPACES: [&str; 2] = [SYSTEM_NAMESPACE, PLATFORM_NAMESPACE];

/// Everything but the cluster that shapes an assignment.
#[derive(Clone, Debug)]
pub struct Ingredients<'a> {
    /// The assignment's identity.
    pub uid: Uid,
    /// The assignment.
    pub assignment: &'a AddonAssignment,
    /// The workspace that the assignment is in; `None` if it does not exist.
    pub workspace: Option<&'a Workspace>,
    /// The addon that the assignment means.
    pub addon_name: ResourceName,
    /// The addon; `None` if it does not exist.
    pub addon: Option<&'a Addon>,
}

impl<'a> Ingredients<'a> {
    /// Looks up what an assignment refers to.
    #[must_use]
    pub fn of(fleet: &'a Fleet, uid: Uid, assignment: &'a AddonAssignment) -> Self {
        let own = &assignment.metadata.namespace;
        let reference = &assignment.spec.addon;
        let in_namespace = |namespace: &str| ResourceName::new(namespace, reference.name.clone());
        let addon_name = match &reference.namespace {
            Some(namespace) => in_namespace(namespace),
            None if fleet.addon(&in_namespace(own)).is_some() => in_namespace(own),
            None => in_namespace(PLATFORM_NAMESPACE),
        };
        let addon = fleet.addon(&addon_name);
        Self { uid, assignment, workspace: fleet.workspace(own), addon_name, addon }
    }

    /// Returns what the assignment's install is called on the clusters.
    #[must_use]
    pub fn install(&self) -> InstallKey {
        let namespace = self.workspace.map_or(DEFAULT_ADDON_NAMESPACE, Workspace::install_namespace);
        InstallKey::new(namespace, self.assignment.instance())
    }

    fn addon_version(&self) -> Result<(&'a Addon, &'a AddonVersion), BlockedReason> {
        let own = &self.assignment.metadata.namespace;
        // Platform resources need no Workspace; whatever else is in none is confined to nothing, and so gets nothing.
        if self.workspace.is_none() && own != PLATFORM_NAMESPACE {
            return Err(BlockedReason::NotPermitted(format!("workspace {own} does not exist")));
        }
        let namespace = &self.addon_name.namespace;
        if namespace != own && namespace != PLATFORM_NAMESPACE {
            return Err(BlockedReason::NotPermitted(format!("workspace {own} may not use addon {}", self.addon_name)));
        }
        let addon = self.addon.ok_or_else(|| BlockedReason::AddonNotFound(self.addon_name.to_string()))?;
        let wanted = &self.assignment.spec.version;
        let version = addon
            .spec
            .version(wanted)
            .ok_or_else(|| BlockedReason::VersionNotFound(format!("{} {wanted}", self.addon_name)))?;
        Ok((addon, version))
    }
}

/// Renders an assignment; `previous` is its present revision, whose objects the new one retires if it no longer has them.
///
/// # Errors
/// Why it cannot be rendered.
pub fn revise(
    ingredients: &Ingredients<'_>,
    previous: Option<&RevisionRecord>,
) -> Result<RevisionRecord, BlockedReason> {
    let (addon, version) = ingredients.addon_version()?;
    let install = ingredients.install();
    check_namespaces(ingredients, addon, &install)?;
    let documents = objects::render(ingredients, addon, version, &install)?;
    let retires = retired(previous, &install, &documents.iter().map(Object::key).cloned().collect());
    let digest = digest(ingredients, addon, version, &install, &documents, &retires);
    let labelled = documents.iter().map(|document| objects::label(document, ingredients.uid, &install, &digest));
    let render = Render::new(labelled.collect(), retires);
    check_size(&render)?;
    Ok(RevisionRecord {
        digest,
        assignment: ingredients.uid,
        addon: ingredients.addon_name.clone(),
        version: version.version.clone(),
        kubernetes: addon.spec.kubernetes.clone(),
        install,
        renderer: RENDERER_VERSION,
        render: Arc::new(render),
    })
}

/// Refuses objects, and releases of them, in a namespace of Starling's own.
fn check_namespaces(ingredients: &Ingredients<'_>, addon: &Addon, install: &InstallKey) -> Result<(), BlockedReason> {
    let target = ingredients.assignment.spec.target_namespace.as_ref().or(addon.spec.target_namespace.as_ref());
    let fields = [("the workspace's spec.namespace", Some(&install.namespace)), ("spec.targetNamespace", target)];
    for (field, namespace) in fields {
        if let Some(namespace) = namespace.filter(|namespace| OWN_NAMESPACES.contains(&namespace.as_str())) {
            let text = format!("namespace {namespace} is Starling's own: choose another in {field}");
            return Err(BlockedReason::NotPermitted(text));
        }
    }
    Ok(())
}

/// Tells whether the step from one revision to another removes something that runs: another install, a HelmRelease or
/// Kustomization that goes, or one that moves to another namespace.
#[must_use]
pub fn removes_workloads(previous: &RevisionRecord, next: &RevisionRecord) -> bool {
    if previous.install != next.install {
        return true;
    }
    previous.render.objects.iter().filter(|object| objects::is_workload(object.key())).any(|before| {
        let after = next.render.objects.iter().find(|after| after.key() == before.key());
        after.is_none_or(|after| objects::target_namespace(before) != objects::target_namespace(after))
    })
}

/// Returns what earlier revisions of the same install had and this one has not. Another install's objects go by tombstone.
fn retired(previous: Option<&RevisionRecord>, install: &InstallKey, present: &BTreeSet<ObjectKey>) -> Vec<ObjectKey> {
    let Some(previous) = previous.filter(|previous| previous.install == *install) else { return Vec::new() };
    let objects = previous.render.objects.iter().map(Object::key);
    let earlier: BTreeSet<&ObjectKey> = objects.chain(&previous.render.retires).collect();
    earlier.into_iter().filter(|key| !present.contains(key)).cloned().collect()
}

fn digest(
    ingredients: &Ingredients<'_>,
    addon: &Addon,
    version: &AddonVersion,
    install: &InstallKey,
    documents: &[Object],
    retires: &[ObjectKey],
) -> Digest {
    let mut writer = DigestWriter::new("revision");
    writer
        .number(u64::from(RENDERER_VERSION))
        .field(&ingredients.uid.0)
        .field(ingredients.addon_name.to_string().as_bytes())
        .field(version.version.as_bytes())
        .field(addon.spec.kubernetes.as_deref().unwrap_or_default().as_bytes())
        .field(install.to_string().as_bytes())
        .number(documents.len() as u64);
    for document in documents {
        writer.digest(&document.digest());
    }
    writer.number(retires.len() as u64);
    for key in retires {
        writer.field(key.to_string().as_bytes());
    }
    writer.finish()
}

fn check_size(render: &Render) -> Result<(), BlockedReason> {
    let bytes: usize = render.objects.iter().map(|object| object.document().to_json().len()).sum();
    if bytes > DOCUMENT_BYTES {
        let text = format!("its objects have {bytes} bytes as JSON, and {DOCUMENT_BYTES} is the limit");
        return Err(BlockedReason::Invalid(text));
    }
    Ok(())
}
