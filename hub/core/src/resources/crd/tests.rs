use super::*;

fn walk(path: &str, schema: &Value, look: &mut impl FnMut(&str, &Map<String, Value>)) {
    let members = schema.as_object().unwrap_or_else(|| panic!("{path} is no schema: {schema}"));
    look(path, members);
    for (name, inner) in members.get("properties").and_then(Value::as_object).into_iter().flatten() {
        walk(&format!("{path}.{name}"), inner, look);
    }
    for single in ["items", "additionalProperties"] {
        members.get(single).into_iter().for_each(|inner| walk(&format!("{path}[]"), inner, look));
    }
}

fn each_schema(mut look: impl FnMut(&str, &Map<String, Value>)) {
    for kind in Kind::ALL {
        let definition = custom_resource_definition(kind);
        walk(kind.as_str(), &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut look);
    }
}

#[test]
fn schemas_hold_only_what_structural_schemas_may() {
    const KNOWN: [&str; 22] = [
        "type",
        "description",
        "properties",
        "required",
        "items",
        "additionalProperties",
        "enum",
        "pattern",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "maxProperties",
        "minimum",
        "maximum",
        "format",
        "default",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-map-type",
    ];
    each_schema(|path, members| {
        let unknown: Vec<&String> = members.keys().filter(|key| !KNOWN.contains(&key.as_str())).collect();
        assert!(unknown.is_empty(), "{path} has {unknown:?}");
        assert!(members.contains_key("type") || members.contains_key("x-kubernetes-preserve-unknown-fields"), "{path}");
        assert!(!(members.contains_key("properties") && members.contains_key("additionalProperties")), "{path}");
    });
}

#[test]
fn everything_that_people_write_is_explained() {
    each_schema(|path, members| {
        let depth = path.split('.').count();
        let standard = ["apiVersion", "kind", "metadata"].iter().any(|name| path.ends_with(name)) && depth == 2;
        let described = members.get("description").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        assert!(standard || path.ends_with("[]") || described, "{path} has no description");
    });
}

#[test]
fn whatever_a_rule_looks_at_has_a_bound() {
    each_schema(|path, members| {
        if path.contains(".status") {
            return;
        }
        match members.get("type").and_then(Value::as_str) {
            Some("array") => assert!(members.contains_key("maxItems"), "{path} is a list without a bound"),
            Some("string") if members.contains_key("pattern") => {
                assert!(members.contains_key("maxLength"), "{path} is a text without a bound");
            }
            _ => {}
        }
    });
}

#[test]
fn what_may_be_left_out_is_not_required() {
    let definition = custom_resource_definition(Kind::ManagedCluster);
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    assert_eq!(schema["properties"]["spec"]["default"], json!({}));
    assert_eq!(schema["properties"]["spec"]["required"], Value::Null);
    assert_eq!(schema["properties"]["spec"]["properties"]["deletionPolicy"]["default"], json!("Orphan"));
    let assignment = custom_resource_definition(Kind::AddonAssignment);
    let spec = &assignment["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    assert_eq!(spec["required"], json!(["addon", "version", "clusterSelector"]));
}
