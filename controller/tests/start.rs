//! What the controller says about its environment, before it asks anybody for anything.

use std::process::Command;

/// How it ends, with a kubeconfig that is not there, and what it has said.
fn start(environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tiphys-controller"));
    command.env_clear().envs(environment.iter().copied()).args(["--kubeconfig", "/nowhere/config"]);
    let output = command.output().expect("the controller starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_environment_is_understood_as_argos_controller_does() {
    let (code, said) = start(&[
        ("ARGO_NAMESPACED", "t"),
        ("LEADER_ELECTION_DISABLE", "1"),
        ("ARGO_WORKFLOW_WORKERS", "32"),
        ("HEALTHZ_AGE", "5m"),
        // Empty is as good as unset.
        ("ARGO_QPS", ""),
        ("LEADER_ELECTION_LEASE_DURATION", ""),
        ("ARGO_PPROF", ""),
    ]);
    assert_eq!(code, Some(64), "{said}");
    let lines = |words: &str| said.lines().filter(|line| line.contains(words)).count();
    assert_eq!((lines("--workflow-workers has no effect"), lines("HEALTHZ_AGE has no effect")), (1, 1), "{said}");
    assert_eq!((lines("has no effect"), lines("the kubeconfig cannot be used")), (2, 1), "{said}");
}

#[test]
fn what_is_not_understood_is_named() {
    for (name, value, words) in [
        ("ARGO_NAMESPACED", "perhaps", "--namespaced"),
        ("ARGO_BURST", "many", "--burst"),
        ("ARGO_PPROF", "perhaps", "--pprof"),
        ("TIPHYS_PPROF_ADDRESS", "6061", "--pprof-address"),
        ("WORKFLOW_USER_OVERRIDE_ALLOWLIST", "volumes,podSpecPach", "'podSpecPach'"),
        ("LEADER_ELECTION_RETRY_PERIOD", "10s", "--renew-deadline has to be longer"),
    ] {
        let (code, said) = start(&[(name, value)]);
        assert!(code == Some(64) && said.contains(words), "{name}: {said}");
    }
}
