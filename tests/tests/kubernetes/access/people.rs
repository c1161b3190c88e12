//! The people of the story, as ServiceAccounts with the chart's roles, and the fleet that they look at.

/// Six people: one for each of the chart's roles, the administrator of one cluster, the developer of one assignment, and somebody
/// without any role.
pub(super) const PEOPLE: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: people}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: platform, namespace: people}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: retailer, namespace: people}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: operator, namespace: people}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: developer, namespace: people}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: shopkeeper, namespace: people}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: oncall, namespace: people}}
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: stranger, namespace: people}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: platform}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: starling-platform-admin}
subjects: [{kind: ServiceAccount, name: platform, namespace: people}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: oncall}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: starling-oncall}
subjects: [{kind: ServiceAccount, name: oncall, namespace: people}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: retailer, namespace: retail}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: starling-workspace-admin}
subjects: [{kind: ServiceAccount, name: retailer, namespace: people}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: catalogue, namespace: starling-platform}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: starling-catalogue-viewer}
subjects: [{kind: ServiceAccount, name: retailer, namespace: people}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: shopkeeper, namespace: retail}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: starling-developer}
subjects: [{kind: ServiceAccount, name: shopkeeper, namespace: people}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: operator-of-b-1, namespace: bank}
rules:
- {apiGroups: [starling.dev], resources: [managedclusters], resourceNames: [b-1], verbs: [get]}
- {apiGroups: [starling.dev], resources: [managedclusters/objects], resourceNames: [b-1], verbs: [get, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: operator-of-b-1, namespace: bank}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: operator-of-b-1}
subjects: [{kind: ServiceAccount, name: operator, namespace: people}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: developer-of-web, namespace: starling-platform}
rules:
- {apiGroups: [starling.dev], resources: [addonassignments, addonassignments/objects], resourceNames: [web], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: developer-of-web, namespace: starling-platform}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: developer-of-web}
subjects: [{kind: ServiceAccount, name: developer, namespace: people}]
";

/// The namespaces of the catalogue and of the workspaces.
pub(super) const NAMESPACES: [&str; 3] = ["starling-platform", "retail", "bank"];

/// The clusters, each with its workspace.
pub(super) const CLUSTERS: [(&str, &str); 3] = [("bank", "b-1"), ("bank", "b-2"), ("retail", "r-1")];

/// Two workspaces; `web` of the platform runs everywhere, `shop` of the retailers on theirs.
pub(super) const FLEET: &str = "\
apiVersion: starling.dev/v1alpha1
kind: Workspace
metadata: {name: retail}
spec: {}
---
apiVersion: starling.dev/v1alpha1
kind: Workspace
metadata: {name: bank}
spec: {}
---
apiVersion: starling.dev/v1alpha1
kind: ManagedCluster
metadata: {name: b-1, namespace: bank, labels: {tier: core}}
spec: {}
---
apiVersion: starling.dev/v1alpha1
kind: ManagedCluster
metadata: {name: b-2, namespace: bank, labels: {tier: core}}
spec: {}
---
apiVersion: starling.dev/v1alpha1
kind: ManagedCluster
metadata: {name: r-1, namespace: retail, labels: {tier: edge}}
spec: {}
---
apiVersion: starling.dev/v1alpha1
kind: Addon
metadata: {name: web, namespace: starling-platform}
spec:
  title: web
  targetNamespace: default
  versions:
  - version: 1.0.0
    source: {helmRepository: {url: 'https://charts.example.org', chart: web}}
---
apiVersion: starling.dev/v1alpha1
kind: AddonAssignment
metadata: {name: web, namespace: starling-platform}
spec: {addon: {name: web}, version: 1.0.0, clusterSelector: {}}
---
apiVersion: starling.dev/v1alpha1
kind: AddonAssignment
metadata: {name: shop, namespace: retail}
spec: {addon: {name: web}, version: 1.0.0, clusterSelector: {}}
";
