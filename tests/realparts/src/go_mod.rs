//! Writes the small `go.mod` a program is built in, and reads the replacements of the program's own `go.mod`. Pure.
//!
//! Go refuses `go install package@version` for a module whose `go.mod` has `replace` lines, and ignores these lines in a
//! dependency; so every program gets a module of its own that requires the program's and repeats what must be replaced.

use crate::recipes::Recipe;

/// The oldest Go release that all recipes build with.
const GO_RELEASE: &str = "1.26.0";

/// The text of the `go.mod` for a recipe; `upstream` is the text of the module's own `go.mod`, used for its local replacements.
pub(crate) fn build_module(recipe: &Recipe, upstream: &str) -> String {
    let mut text = format!("module starling.dev/realparts/{}\n\ngo {GO_RELEASE}\n\n", recipe.name);
    text.push_str(&format!("require {} {}\n", recipe.module, recipe.version));
    for require in recipe.requires {
        text.push_str(&format!("require {} {}\n", require.module, require.version));
    }
    for replace in recipe.replaces {
        text.push_str(&replace_line(replace.module, replace.version));
    }
    if let Some(version) = recipe.staging_version {
        for module in local_replacements(upstream) {
            text.push_str(&replace_line(&module, version));
        }
    }
    text
}

/// The modules that a `go.mod` replaces with a folder of its own repository, in the order of the file.
pub(crate) fn local_replacements(go_mod: &str) -> Vec<String> {
    let mut modules = Vec::new();
    let mut in_replace_block = false;
    for line in go_mod.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        if in_replace_block && line == ")" {
            in_replace_block = false;
            continue;
        }
        if line == "replace (" {
            in_replace_block = true;
            continue;
        }
        let directive = if in_replace_block { Some(line) } else { line.strip_prefix("replace ") };
        let Some((replaced, with)) = directive.and_then(|directive| directive.split_once("=>")) else {
            continue;
        };
        let Some(module) = replaced.split_whitespace().next() else {
            continue;
        };
        if with.trim_start().starts_with("./") || with.trim_start().starts_with("../") {
            modules.push(module.to_owned());
        }
    }
    modules
}

fn replace_line(module: &str, version: &str) -> String {
    format!("replace {module} => {module} {version}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipes::Program;

    const UPSTREAM: &str = "\
module k8s.io/kubernetes

go 1.25.0

require (
	k8s.io/api v0.0.0
	k8s.io/utils v0.0.0-20250604170112-4c0f3b243397
)

replace k8s.io/single => ./staging/src/k8s.io/single // kept

replace (
	k8s.io/api => ./staging/src/k8s.io/api
	k8s.io/client-go v0.0.0 => ./staging/src/k8s.io/client-go
	github.com/elsewhere/fork => github.com/other/fork v1.2.3
)
";

    #[test]
    fn finds_local_replacements_only() {
        assert_eq!(local_replacements(UPSTREAM), ["k8s.io/single", "k8s.io/api", "k8s.io/client-go"]);
        assert!(local_replacements("module a\nrequire b v1.0.0\n").is_empty());
    }

    #[test]
    fn staging_modules_are_replaced_by_their_published_version() {
        let text = build_module(Program::Kubectl.recipe(), UPSTREAM);
        assert!(text.contains("require k8s.io/kubernetes v1.35.4\n"), "{text}");
        assert!(text.contains("replace k8s.io/client-go => k8s.io/client-go v0.35.4\n"), "{text}");
        assert!(!text.contains("elsewhere"), "{text}");
    }

    #[test]
    fn other_modules_take_only_the_replacements_of_the_recipe() {
        let text = build_module(Program::HelmController.recipe(), UPSTREAM);
        assert!(text.contains("require helm.sh/helm/v4 v4.2.4\n"), "{text}");
        assert!(text.contains("replace sigs.k8s.io/kustomize/api => sigs.k8s.io/kustomize/api v0.21.1\n"), "{text}");
        assert!(!text.contains("k8s.io/client-go"), "{text}");
    }
}
