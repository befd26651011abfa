//! The image's bill of materials: what cargo compiles into the binary for Linux, and the base's packages, and nothing else.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::Value;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What tools/sbom prints, with these packages in the base.
fn sbom(packages: &str) -> Value {
    let folder = tempfile();
    let list = folder.join("packages");
    fs::write(&list, packages).unwrap();
    let done = Command::new("tools/sbom")
        .args(["--target", TARGET, "--debian"])
        .arg(&list)
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .output()
        .unwrap_or_else(|error| panic!("tools/sbom needs Python 3.11 or newer as python3: {error}"));
    fs::remove_dir_all(folder).unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

fn tempfile() -> std::path::PathBuf {
    let name = format!("mfa-sbom-{}-{:?}", std::process::id(), std::thread::current().id());
    let folder = std::env::temp_dir().join(name.replace(['(', ')'], ""));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The crates that cargo compiles into the operator.
fn crates() -> BTreeSet<String> {
    let done = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--package=mfa-operator", "--edges=normal", "--prefix=none", "--format={p}"])
        .args(["--target", TARGET])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8(done.stdout).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut words = line.split(' ');
            let (name, version) = (words.next().unwrap(), words.next().unwrap());
            format!("{name} {}", version.trim_start_matches('v'))
        })
        .collect()
}

fn name_and_version(component: &Value) -> String {
    format!("{} {}", component["name"].as_str().unwrap(), component["version"].as_str().unwrap())
}

fn is_crate(component: &Value) -> bool {
    component["purl"].as_str().unwrap().starts_with("pkg:cargo/")
}

#[test]
fn the_bill_of_materials_lists_what_is_in_the_image() {
    let bill = sbom("libc6 2.36-9+deb12u14 amd64\nca-certificates 20230311 all\n");
    assert_eq!(bill["bomFormat"], "CycloneDX");
    assert_eq!(bill["specVersion"], "1.6");
    assert_eq!(bill["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
    let itself = &bill["metadata"]["component"];
    assert_eq!(itself["version"], env!("CARGO_PKG_VERSION"));

    let components = bill["components"].as_array().unwrap();
    let mut found: BTreeSet<_> = components.iter().filter(|one| is_crate(one)).map(name_and_version).collect();
    found.insert(name_and_version(itself));
    assert_eq!(found, crates());
    for only_in_tests in ["kube-cel", "mfa-sandbox", "proptest", "rcgen"] {
        assert!(!components.iter().any(|one| one["name"] == only_in_tests), "{only_in_tests} is not in the image");
    }
    let base: Vec<_> =
        components.iter().filter(|one| !is_crate(one)).map(|one| one["purl"].as_str().unwrap()).collect();
    assert_eq!(
        base,
        ["pkg:deb/debian/ca-certificates@20230311?arch=all", "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64"]
    );
    for component in components.iter().filter(|one| is_crate(one)) {
        assert_eq!(component["hashes"][0]["alg"], "SHA-256", "{component}");
        assert_eq!(component["hashes"][0]["content"].as_str().unwrap().len(), 64, "{component}");
        assert!(component["licenses"][0]["expression"].is_string(), "{component}");
    }
}

#[test]
fn every_reference_in_the_bill_of_materials_names_one_component() {
    let bill = sbom("libc6 2.36-9+deb12u14 amd64\n");
    let all = bill["components"].as_array().unwrap().iter().chain([&bill["metadata"]["component"]]);
    let given: Vec<_> = all.map(|component| component["bom-ref"].as_str().unwrap()).collect();
    let known: BTreeSet<_> = given.iter().copied().collect();
    assert_eq!(known.len(), given.len(), "a reference is given twice");
    for entry in bill["dependencies"].as_array().unwrap() {
        let named = entry["dependsOn"].as_array().unwrap().iter().chain([&entry["ref"]]);
        for name in named.map(|name| name.as_str().unwrap()) {
            assert!(known.contains(name), "nothing is called {name}");
        }
    }
}

#[test]
fn the_same_sources_give_the_same_bill_of_materials() {
    let packages = "libc6 2.36-9+deb12u14 amd64\n";
    assert_eq!(sbom(packages), sbom(packages));
    assert_ne!(sbom(packages)["serialNumber"], sbom("libc6 2.37-1 amd64\n")["serialNumber"]);
}
