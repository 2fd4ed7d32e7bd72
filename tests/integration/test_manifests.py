"""manifests/ on a real control plane: it applies at the first try, and grants and forbids what it says."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner
from kubernetes.dynamic.exceptions import ForbiddenError
from yarl import URL

from claude_operator.controller.command import command as controller
from claude_operator.engine import job as jobs
from claude_operator.engine.config import EngineConfig
from claude_operator.engine.decision import JobPlan
from claude_operator.engine.views import project_view, session_view
from claude_operator.gateway.cluster import Secret
from claude_operator.gateway.command import command as gateway
from claude_operator.gateway.credentials import read
from claude_operator.resources.project import ProjectSpec
from claude_operator.setup.command import command as setup
from claude_operator.shim.command import command as shim
from tests.cluster.controlplane import ControlPlane
from tests.cluster.waiting import wait_until
from tests.integration.witness import Object, Witness, refused

pytestmark = pytest.mark.controlplane

ROOT = Path(__file__).parents[2]
CRDS = ROOT / "crds"
MANIFESTS = ROOT / "manifests"
EXAMPLES = sorted((MANIFESTS / "examples").glob("*.yaml"))

CONTROLLER = "system:serviceaccount:claude-operator:claude-controller"
GATEWAY = "system:serviceaccount:claude-operator:claude-gateway"
SHIM = "system:serviceaccount:claude-operator:claude-shim"
SESSION = "system:serviceaccount:default:claude-session"
GARBAGE_SECONDS = 90.0
"""The garbage collector learns of new CRDs every 30 seconds."""
POLICY_SECONDS = 20.0
"""The API server compiles a new admission policy within a second or two."""


def documents(path: Path) -> list[Object]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


@pytest.fixture(scope="module")
def installed(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> ControlPlane:
    """The one command of the README, on a cluster that has never heard of us."""
    # A discovery cache of its own: another test's cluster may have had the same address.
    cache = tmp_path_factory.mktemp("kubectl-cache")
    command = ["apply", "--validate=strict", f"--cache-dir={cache}", "-f", str(CRDS)]
    plane.kubectl.run(*command, "-f", str(MANIFESTS / "install.yaml"))
    plane.kubectl.run("wait", "--for=condition=Established", "-f", str(CRDS), "--timeout=30s")
    return plane


@pytest.fixture(scope="module")
def admin(installed: ControlPlane) -> Witness:
    witness = Witness(installed.kubeconfig)

    def in_force() -> bool:
        return all(_words_of_refusal(witness, forged) for forged in (pod(), job()))

    wait_until(in_force, what="the admission policies to be in force", seconds=POLICY_SECONDS)
    return witness


def _words_of_refusal(witness: Witness, manifest: Object) -> str:
    try:
        witness.apply(manifest, dry_run=True)
    except ForbiddenError as error:
        return str(error.summary())
    return ""


def who(plane: ControlPlane, user: str, *groups: str) -> Witness:
    return Witness(plane.client_kubeconfig(user.replace(":", "-"), user=user, groups=groups))


# ── It applies ───────────────────────────────────────────────────────────────────────────────────


def test_the_second_apply_restarts_nothing_and_touches_almost_nothing(installed: ControlPlane) -> None:
    def generations() -> str:
        workloads = ("deployment/claude-controller", "statefulset/claude-gateway")
        return installed.kubectl.run(
            "get", "-n", "claude-operator", *workloads, "-o", "jsonpath={.items[*].metadata.generation}"
        )

    before = generations()
    again = installed.kubectl.run("apply", "-f", str(CRDS), "-f", str(MANIFESTS / "install.yaml"))
    changed = [line for line in again.splitlines() if not line.endswith(" unchanged")]
    # kubectl never recognises a volumeClaimTemplate: the server gives it a status.
    assert changed == ["statefulset.apps/claude-gateway configured"]
    assert generations() == before == "1 1"


def test_the_setup_step_creates_the_default_project_once(installed: ControlPlane, tmp_path: Path) -> None:
    [config] = [
        document for document in documents(MANIFESTS / "install.yaml") if document["kind"] == "ConfigMap"
    ]
    file = tmp_path / "projects.yaml"
    file.write_text(config["data"]["projects.yaml"])
    kubeconfig = installed.client_kubeconfig("setup", user=CONTROLLER)
    arguments = [str(file), "--kubeconfig", str(kubeconfig)]
    first = CliRunner().invoke(setup, arguments)
    assert (first.exit_code, first.output) == (0, "claudeproject default/default: created\n")
    installed.kubectl.run("patch", "cproj", "default", "--type=merge", "-p", '{"spec": {"paused": true}}')
    second = CliRunner().invoke(setup, arguments)
    assert (second.exit_code, second.output) == (0, "claudeproject default/default: exists, left as it is\n")
    assert installed.kubectl.run("get", "cproj", "default", "-o", "jsonpath={.spec.paused}") == "true"


def test_the_setup_step_does_not_hold_the_controller_up(installed: ControlPlane, tmp_path: Path) -> None:
    file = tmp_path / "projects.yaml"
    project = {
        "apiVersion": "claude-operator.dev/v1alpha1",
        "kind": "ClaudeProject",
        "metadata": {"name": "elsewhere", "namespace": "kube-system"},
        "spec": {"repositoryHosts": [{"host": "github.com"}]},
    }
    file.write_text(json.dumps(project))
    kubeconfig = installed.client_kubeconfig("setup", user=CONTROLLER)
    result = CliRunner().invoke(setup, [str(file), "--kubeconfig", str(kubeconfig)])
    assert result.exit_code == 0
    assert "claudeproject kube-system/elsewhere: refused, go on without it" in result.output
    assert CliRunner().invoke(setup, [str(tmp_path / "absent.yaml")]).exit_code == 0
    file.write_text("kind: Secret")
    wrong = CliRunner().invoke(setup, [str(file), "--kubeconfig", str(kubeconfig)])
    assert wrong.exit_code == 1
    assert "expected claude-operator.dev/v1alpha1 ClaudeProject" in wrong.output


def test_namespace_yaml_makes_another_namespace_what_install_yaml_makes_of_default() -> None:
    install, namespace = documents(MANIFESTS / "install.yaml"), documents(MANIFESTS / "namespace.yaml")
    of_default = [
        d
        for d in install
        if d["metadata"].get("namespace") == "default" and "setup" not in d["metadata"]["name"]
    ]
    for document in of_default:
        del document["metadata"]["namespace"]
    [config] = [document for document in install if document["kind"] == "ConfigMap"]
    project = yaml.safe_load(config["data"]["projects.yaml"])
    del project["metadata"]["namespace"]
    assert namespace == [*of_default, project]


@pytest.mark.parametrize("level", ["privileged", "restricted"])
def test_namespace_yaml_applies_with_n(installed: ControlPlane, level: str) -> None:
    installed.kubectl.run("create", "namespace", level)
    installed.kubectl.run("label", "namespace", level, f"pod-security.kubernetes.io/enforce={level}")
    arguments = ("-n", level, "-f", str(MANIFESTS / "namespace.yaml"))
    installed.kubectl.run("apply", "--validate=strict", *arguments)
    assert "unchanged" in installed.kubectl.run("apply", *arguments)


@pytest.mark.parametrize("example", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_applies(installed: ControlPlane, example: Path) -> None:
    installed.kubectl.run(
        "apply", "--server-side", "--validate=strict", "--dry-run=server", "-f", str(example)
    )


def test_the_gateways_claim_binds_to_the_volume_for_clusters_without_storage_classes(admin: Witness) -> None:
    [volume] = documents(MANIFESTS / "local-volume.yaml")
    admin.apply(volume)
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data-claude-gateway-0", "namespace": "claude-operator"},
    }
    wait_until(
        lambda: admin.get(claim)["status"]["phase"] == "Bound", what="the claim to be bound", seconds=30
    )
    assert admin.get(claim)["spec"]["volumeName"] == "claude-gateway-data"


def test_the_operators_pods_pass_pod_security_restricted(admin: Witness) -> None:
    """The namespace enforces it, so pods that would not pass would not exist."""
    for name in ("claude-controller", "claude-gateway", "claude-shim"):
        selector = f"app.kubernetes.io/name={name}"
        wait_until(
            lambda selector=selector: bool(  # type: ignore[misc]
                admin.core.list_namespaced_pod("claude-operator", label_selector=selector).items
            ),
            what=f"a pod {selector}",
            seconds=30,
        )


def _container(workload: str) -> Object:
    [found] = [
        document["spec"]["template"]["spec"]["containers"][0]
        for document in documents(MANIFESTS / "install.yaml")
        if document["metadata"]["name"] == workload and "template" in document.get("spec", {})
    ]
    return dict(found)


@pytest.mark.parametrize(
    ("workload", "command"),
    [("claude-controller", controller), ("claude-gateway", gateway), ("claude-shim", shim)],
)
def test_a_process_knows_every_variable_that_its_manifest_sets(workload: str, command: click.Command) -> None:
    known = {option.envvar: option for option in command.params if isinstance(option, click.Option)}
    given = {variable["name"] for variable in _container(workload)["env"]}
    assert given <= known.keys()
    assert {name for name, option in known.items() if option.required} <= given


@pytest.mark.parametrize("example", ["secret-model", "secret-git"])
def test_the_gateway_can_use_a_secret_made_from_the_template(example: str) -> None:
    [secret] = documents(MANIFESTS / "examples" / f"{example}.yaml")
    data = {key: value.encode() for key, value in secret["stringData"].items()}
    credential = read(secret["metadata"]["name"], Secret(type=secret["type"], data=data))
    [config] = [d for d in documents(MANIFESTS / "install.yaml") if d["kind"] == "ConfigMap"]
    project = ProjectSpec.model_validate(yaml.safe_load(config["data"]["projects.yaml"])["spec"])
    if example == "secret-model":
        assert project.model.credentials_secret == credential.name
        credential.require(URL(project.model.upstream_url))
    else:
        credential.require(URL(f"https://{project.repository_hosts[0].host}"))
        credential.require(URL("https://api.github.com"))
        assert credential.basic()


# ── Only the operator starts session pods ────────────────────────────────────────────────────────


def pod_spec(**changes: Any) -> Object:
    container = {
        "name": "session",
        "image": "x",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "serviceAccountName": "claude-session",
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    return {key: value for key, value in (spec | changes).items() if value is not None}


FORGED: Object = {
    "labels": {"claude-operator.dev/session-uid": "some-uid", "claude-operator.dev/attempt": "1"},
    "ownerReferences": [
        {"apiVersion": "batch/v1", "kind": "Job", "name": "x", "uid": "some-uid", "controller": True}
    ],
}


def pod(name: str = "forged", metadata: Object | None = None, **changes: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", **(metadata or {})},
        "spec": pod_spec(**changes),
    }


def job(name: str = "forged", **changes: Any) -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"backoffLimit": 0, "template": {"spec": pod_spec(**changes)}},
    }


POD_WORDS = (
    "the service account claude-session and the label claude-operator.dev/session-uid belong to the pods"
)
JOB_WORDS = (
    "Jobs of sessions (by service account, label or owner) are made and changed by claude-operator alone"
)
LABEL_WORDS = "the labels claude-operator.dev/session-uid and claude-operator.dev/attempt never change"


@pytest.mark.parametrize(
    "manifest",
    [
        pod(),
        pod(metadata=FORGED),
        pod(serviceAccountName=None, serviceAccount="claude-session"),
        pod(metadata=FORGED, serviceAccountName="default"),
    ],
    ids=["plain", "forged labels and owner", "the field's old name", "forged labels, another account"],
)
def test_not_even_an_administrator_makes_a_session_pod(admin: Witness, manifest: Object) -> None:
    with refused(status=403) as refusal:
        admin.create(manifest)
    assert POD_WORDS in refusal.message


@pytest.mark.parametrize(
    ("user", "owner_kind", "allowed"),
    [
        ("system:serviceaccount:kube-system:job-controller", "Job", True),
        ("system:kube-controller-manager", "Job", True),
        # Where one identity serves all controllers, a ReplicaSet's pod comes from it too.
        ("system:kube-controller-manager", "ReplicaSet", False),
        ("system:serviceaccount:kube-system:replicaset-controller", "Job", False),
        (CONTROLLER, "Job", False),
    ],
)
def test_the_job_controller_makes_session_pods_and_nobody_else_does(
    installed: ControlPlane, admin: Witness, user: str, owner_kind: str, allowed: bool
) -> None:
    del admin  # the policies are in force
    [owner] = FORGED["ownerReferences"]
    metadata = FORGED | {"ownerReferences": [owner | {"kind": owner_kind}]}
    manifest = pod(metadata=metadata)
    impostor = who(installed, user, "system:masters")
    if allowed:
        impostor.apply(manifest, dry_run=True)
        return
    with refused(status=403) as refusal:
        impostor.apply(manifest, dry_run=True)
    assert POD_WORDS in refusal.message


def test_the_job_controller_makes_no_session_pod_of_another_job(
    installed: ControlPlane, admin: Witness
) -> None:
    """A Job's template may say anything; its pods are made by the same controller as ours."""
    del admin  # the policies are in force
    maker = who(installed, "system:serviceaccount:kube-system:job-controller", "system:masters")
    with refused(status=403) as refusal:
        maker.apply(pod(metadata=FORGED, serviceAccountName="default"), dry_run=True)
    assert POD_WORDS in refusal.message


OF_A_SESSION: dict[str, Object] = {
    "its label": {"labels": FORGED["labels"]},
    "its owner": {
        "ownerReferences": [
            {
                "apiVersion": "claude-operator.dev/v1alpha1",
                "kind": "ClaudeSession",
                "name": "x",
                "uid": "some-uid",
                "controller": True,
            }
        ]
    },
}


@pytest.mark.parametrize("metadata", OF_A_SESSION.values(), ids=OF_A_SESSION)
def test_nobody_makes_or_marks_a_job_as_a_sessions(admin: Witness, metadata: Object) -> None:
    forged = job("marked", serviceAccountName="default")
    forged["metadata"] |= metadata
    with refused(status=403) as refusal:
        admin.apply(forged, dry_run=True)
    assert JOB_WORDS in refusal.message
    plain = admin.apply(job("unmarked", serviceAccountName="default"))
    with refused(status=403) as refusal:
        admin.merge(plain, {"metadata": metadata})
    assert JOB_WORDS in refusal.message


def test_a_users_job_is_refused_and_one_with_another_account_is_not(admin: Witness) -> None:
    with refused(status=403) as refusal:
        admin.create(job())
    assert JOB_WORDS in refusal.message
    with refused(status=403):
        admin.create(job(serviceAccountName=None, serviceAccount="claude-session"))
    admin.create(job("harmless", serviceAccountName="default"))
    admin.create(pod("harmless", serviceAccountName="default"))


def test_a_deployment_with_the_account_gets_no_pod(admin: Witness) -> None:
    labels = {"app": "detour"}
    template = {"metadata": {"labels": labels}, "spec": pod_spec(restartPolicy=None)}
    metadata = {"name": "detour", "namespace": "default"}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    admin.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})

    def refusals() -> str:
        found = admin.core.list_namespaced_event("default", field_selector="reason=FailedCreate").items
        return " ".join(event.message for event in found if "detour" in event.involved_object.name)

    wait_until(lambda: POD_WORDS in refusals(), what="the ReplicaSet's pod to be refused", seconds=30)


def test_a_cron_job_with_the_account_gets_no_job(installed: ControlPlane, admin: Witness) -> None:
    del admin  # the policies are in force
    controller = who(installed, "system:serviceaccount:kube-system:cronjob-controller", "system:masters")
    with refused(status=403) as refusal:
        controller.create(job("scheduled"))
    assert JOB_WORDS in refusal.message


@contextmanager
def session_job(
    installed: ControlPlane, admin: Witness, name: str, namespace: str = "default"
) -> Iterator[tuple[Object, Object]]:
    """A session and the Job that our engine builds for it, created with the controller's own rights."""
    session = admin.apply(
        {
            "apiVersion": "claude-operator.dev/v1alpha1",
            "kind": "ClaudeSession",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"repository": "acme/greetings", "requirements": "Greet.", "project": name},
        }
    )
    project = admin.apply(
        {
            "apiVersion": "claude-operator.dev/v1alpha1",
            "kind": "ClaudeProject",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"repositoryHosts": [{"host": "github.com"}]},
        }
    )
    config = EngineConfig(
        session_image="x", gateway_url="https://g:8443", gateway_proxy="g:8445", gateway_ca="PEM"
    )
    view = session_view(session)
    plan = JobPlan(attempt=1, name=jobs.job_name(view.name, view.uid, 1))
    built = who(installed, CONTROLLER).create(jobs.build(view, project_view(project), plan, config))
    yield session, built


def test_session_labels_never_change(installed: ControlPlane, admin: Witness) -> None:
    mark = {"labels": {"claude-operator.dev/session-uid": "another"}}
    with session_job(installed, admin, "labelled") as (_, built):
        wait_until(lambda: len(_pods(admin, built)) == 1, what="the Job's pod", seconds=30)
        of_session = pod(_pods(admin, built)[0].metadata.name)
        plain = admin.create(pod("unlabelled", serviceAccountName="default"))
        for target, subresource in ((plain, ""), (of_session, ""), (of_session, "status"), (built, "status")):
            with refused(status=403) as refusal:
                admin.merge(target, {"metadata": mark}, subresource=subresource)
            assert LABEL_WORDS in refusal.message
        admin.merge(of_session, {"metadata": {"labels": {"note": "free"}}})


def _pods(admin: Witness, job: Object) -> list[Any]:
    namespace = job["metadata"]["namespace"]
    selector = f"job-name={job['metadata']['name']}"
    return list(admin.core.list_namespaced_pod(namespace, label_selector=selector).items)


def test_the_controllers_job_gets_its_pod_also_under_pod_security_restricted(
    installed: ControlPlane, admin: Witness
) -> None:
    installed.kubectl.run("create", "namespace", "strict")
    installed.kubectl.run("label", "namespace", "strict", "pod-security.kubernetes.io/enforce=restricted")
    installed.kubectl.run("apply", "-n", "strict", "-f", str(MANIFESTS / "namespace.yaml"))
    with session_job(installed, admin, "genuine", "strict") as (_, built):
        wait_until(lambda: len(_pods(admin, built)) == 1, what="the Job's pod", seconds=30)
        [made] = _pods(admin, built)
        assert made.spec.service_account_name == "claude-session"
        assert [volume.name for volume in made.spec.volumes] == ["workspace", "home", "tmp", "gateway-token"]


def test_nobody_changes_what_a_session_job_runs_or_for_whom(installed: ControlPlane, admin: Witness) -> None:
    with session_job(installed, admin, "guarded") as (_, built):
        changes: list[Object] = [
            {"metadata": {"labels": {"claude-operator.dev/session-uid": "another"}}},
            {"metadata": {"ownerReferences": None}},
            {"spec": {"suspend": True}},
        ]
        for change in changes:
            with refused(status=403) as refusal:
                admin.merge(built, change)
            assert JOB_WORDS in refusal.message
        admin.merge(built, {"metadata": {"annotations": {"note": "free"}}})


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_deleting_a_session_takes_its_job_along(
    installed: ControlPlane, admin: Witness, cascade: str
) -> None:
    """The garbage collector gets past the policy: a foreground deletion ends with an update of the Job."""
    with session_job(installed, admin, f"deleted-{cascade}") as (session, built):
        name = session["metadata"]["name"]
        wait_until(lambda: len(_pods(admin, built)) == 1, what="the Job's pod", seconds=GARBAGE_SECONDS)
        installed.kubectl.run("delete", "csess", name, f"--cascade={cascade}", "--wait=false")
        wait_until(
            lambda: built["metadata"]["name"] not in admin.names("batch/v1", "Job"),
            what="the Job to be gone",
            seconds=GARBAGE_SECONDS,
        )


def test_orphaning_a_job_is_not_held_up(installed: ControlPlane, admin: Witness) -> None:
    with session_job(installed, admin, "orphaned") as (session, built):
        installed.kubectl.run(
            "delete", "csess", session["metadata"]["name"], "--cascade=orphan", "--wait=false"
        )
        wait_until(
            lambda: "ownerReferences" not in admin.get(built)["metadata"],
            what="the owner to go",
            seconds=GARBAGE_SECONDS,
        )


def test_tokens_of_the_session_account_are_for_kubelets(installed: ControlPlane, admin: Witness) -> None:
    del admin  # the policies are in force

    def ask(account: str, kubeconfig: Path) -> subprocess.CompletedProcess[str]:
        binary = str(installed.kubectl.binary)
        arguments = ["create", "token", account, "--audience=claude-gateway", "--kubeconfig", str(kubeconfig)]
        return subprocess.run([binary, *arguments], capture_output=True, text=True, timeout=30, check=False)

    refusal = ask("claude-session", installed.kubeconfig)
    assert refusal.returncode != 0
    assert "tokens of the service account claude-session are for session pods alone" in refusal.stderr
    assert ask("default", installed.kubeconfig).returncode == 0
    kubelet = installed.client_kubeconfig(
        "kubelet", user="kubelet", groups=["system:nodes", "system:masters"]
    )
    assert ask("claude-session", kubelet).returncode == 0


# ── Least privilege ──────────────────────────────────────────────────────────────────────────────

CR = "claude-operator.dev"
MAY: list[tuple[str, str, str]] = [
    # who, verb, [group/]resource[/subresource][:name][@namespace]
    *[(CONTROLLER, verb, f"{CR}/claudesessions@default") for verb in ("get", "list", "watch", "delete")],
    (CONTROLLER, "patch", f"{CR}/claudesessions//status@default"),
    *[(CONTROLLER, verb, f"{CR}/claudeprojects@default") for verb in ("get", "list", "watch")],
    *[(CONTROLLER, verb, "batch/jobs@default") for verb in ("get", "list", "watch", "create", "delete")],
    *[(CONTROLLER, verb, "pods@default") for verb in ("get", "list", "watch")],
    *[(CONTROLLER, verb, "events@default") for verb in ("create", "patch")],
    (CONTROLLER, "create", "coordination.k8s.io/leases@claude-operator"),
    *[
        (CONTROLLER, verb, "coordination.k8s.io/leases:claude-operator-controller@claude-operator")
        for verb in ("get", "patch")
    ],
    (CONTROLLER, "get", "configmaps:claude-gateway-ca@claude-operator"),
    (GATEWAY, "get", "pods@default"),
    (GATEWAY, "get", "batch/jobs@default"),
    (GATEWAY, "get", f"{CR}/claudesessions@default"),
    *[(GATEWAY, verb, f"{CR}/claudeprojects@default") for verb in ("get", "list", "watch")],
    (GATEWAY, "patch", f"{CR}/claudeprojects//status@default"),
    (GATEWAY, "get", "secrets:anthropic@default"),
    (GATEWAY, "get", "secrets:claude-gateway-tls@claude-operator"),
    (GATEWAY, "create", "secrets@claude-operator"),
    *[(GATEWAY, verb, "configmaps:claude-gateway-ca@claude-operator") for verb in ("get", "patch")],
    (GATEWAY, "create", "configmaps@claude-operator"),
    *[
        (SHIM, verb, f"{CR}/claudesessions@default")
        for verb in ("get", "list", "watch", "create", "patch", "delete")
    ],
    (SHIM, "get", f"{CR}/claudeprojects@default"),
    (SHIM, "get", "configmaps:claude-gateway-ca@claude-operator"),
]
MAY_NOT: list[tuple[str, str, str]] = [
    *[(CONTROLLER, "get", f"secrets@{namespace}") for namespace in ("default", "claude-operator")],
    (CONTROLLER, "create", "pods@default"),
    (CONTROLLER, "create", "pods//exec@default"),
    (CONTROLLER, "get", "pods//log@default"),
    (CONTROLLER, "patch", f"{CR}/claudesessions@default"),
    (CONTROLLER, "create", f"{CR}/claudesessions@default"),
    (CONTROLLER, "patch", f"{CR}/claudeprojects//status@default"),
    (CONTROLLER, "patch", "batch/jobs@default"),
    (CONTROLLER, "create", "serviceaccounts//token@default"),
    (CONTROLLER, "get", "coordination.k8s.io/leases:other@claude-operator"),
    (CONTROLLER, "get", "configmaps:claude-gateway-ca@default"),
    (GATEWAY, "get", "secrets:anthropic@kube-system"),
    (GATEWAY, "get", "secrets:other@claude-operator"),
    (GATEWAY, "list", "secrets@default"),
    (GATEWAY, "watch", "secrets@default"),
    (GATEWAY, "create", "secrets@default"),
    (GATEWAY, "patch", f"{CR}/claudesessions//status@default"),
    (GATEWAY, "patch", f"{CR}/claudeprojects@default"),
    (GATEWAY, "create", "batch/jobs@default"),
    (GATEWAY, "list", "pods@default"),
    (GATEWAY, "create", "pods//exec@default"),
    *[(SHIM, "get", f"secrets@{namespace}") for namespace in ("default", "claude-operator")],
    (SHIM, "patch", f"{CR}/claudesessions//status@default"),
    (SHIM, "patch", f"{CR}/claudeprojects@default"),
    (SHIM, "create", "batch/jobs@default"),
    (SHIM, "list", "pods@default"),
    (SHIM, "create", "pods//exec@default"),
    (SHIM, "get", "configmaps:claude-gateway-ca@default"),
    *[(who, "*", "*/*@default") for who in (CONTROLLER, GATEWAY, SHIM, SESSION)],
    *[
        (SESSION, verb, f"{resource}@default")
        for verb in ("get", "list", "create", "delete")
        for resource in ("pods", "secrets", "batch/jobs", f"{CR}/claudesessions", f"{CR}/claudeprojects")
    ],
]


def _allowed(admin: Witness, user: str, verb: str, what: str) -> bool:
    path, _, namespace = what.partition("@")
    path, _, name = path.partition(":")
    path, _, subresource = path.partition("//")
    group, _, resource = path.rpartition("/")
    attributes = {
        "verb": verb,
        "group": group,
        "resource": resource,
        "subresource": subresource,
        "namespace": namespace,
        "name": name,
    }
    account_namespace = user.split(":")[2]
    review = admin.create(
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "metadata": {},
            "spec": {
                "user": user,
                "groups": [
                    "system:serviceaccounts",
                    f"system:serviceaccounts:{account_namespace}",
                    "system:authenticated",
                ],
                "resourceAttributes": attributes,
            },
        }
    )
    return bool(review["status"]["allowed"])


@pytest.mark.parametrize(("user", "verb", "what"), MAY)
def test_an_account_may_do_its_work(admin: Witness, user: str, verb: str, what: str) -> None:
    assert _allowed(admin, user, verb, what)


@pytest.mark.parametrize(("user", "verb", "what"), MAY_NOT)
def test_and_nothing_else(admin: Witness, user: str, verb: str, what: str) -> None:
    assert not _allowed(admin, user, verb, what)


def test_the_gateway_reads_the_signing_keys(installed: ControlPlane, admin: Witness) -> None:
    del admin
    kubeconfig = installed.client_kubeconfig("gateway-bare", user=GATEWAY)  # without the groups' rights
    for path in ("/openid/v1/jwks", "/.well-known/openid-configuration"):
        out = subprocess.run(
            [str(installed.kubectl.binary), "--kubeconfig", str(kubeconfig), "get", "--raw", path],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        assert json.loads(out.stdout)


@pytest.mark.parametrize(
    ("role", "sessions", "projects"),
    [("view", False, False), ("edit", True, False), ("admin", True, True)],
)
def test_the_usual_roles_of_people_cover_our_kinds(
    installed: ControlPlane, admin: Witness, role: str, sessions: bool, projects: bool
) -> None:
    user = f"system:serviceaccount:people:{role}"
    installed.kubectl.run("create", "rolebinding", role, f"--clusterrole={role}", f"--user={user}")

    def may(verb: str, resource: str) -> bool:
        return _allowed(admin, user, verb, f"{CR}/{resource}@default")

    wait_until(lambda: may("get", "claudesessions"), what="the aggregated role", seconds=30)
    assert may("list", "claudeprojects")
    assert (may("create", "claudesessions"), may("patch", "claudeprojects")) == (sessions, projects)
    assert not may("patch", "claudesessions//status")
    assert not may("patch", "claudeprojects//status")
