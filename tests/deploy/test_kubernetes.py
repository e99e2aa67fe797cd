"""The manifests of Kubernetes: by the cluster's own schemas, by kustomize where it is there, and compared with the code."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tracker.cli.main import cli
from tracker.config.load import load_config
from tracker.config.model import Web

DEPLOY = Path(__file__).parents[2] / "deploy"
FOLDERS = ("namespace", "migrate", "base")
VERSIONS = (
    "1.28",
    "1.33",
    "1.37",
)  # of clusters: the oldest that somebody may still run, one that is common, the newest that is known
ROLES = ("web", "worker", "scheduler", "migrate")


def written(folder: str) -> list[dict[str, Any]]:
    """Return the objects of a folder as they are written, those of the folders that it names left out."""
    where = DEPLOY / "kubernetes" / folder
    named = yaml.safe_load((where / "kustomization.yaml").read_text())["resources"]
    found = [
        one for name in named if not name.startswith("..") for one in yaml.safe_load_all((where / name).read_text())
    ]
    return [one for one in found if one is not None]


def pods() -> dict[str, dict[str, Any]]:
    """Return the template of each role's pod."""
    found = {}
    for one in [*written("base"), *written("migrate")]:
        if one["kind"] in ("Deployment", "Job"):
            found[one["metadata"]["name"].removeprefix("trackwright-")] = one["spec"]["template"]
    return found


def references(path: Path) -> set[str]:
    return set(re.findall(r"\$\{file:([^}]+)\}", path.read_text()))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schemas_of_the_cluster_take_every_object(version: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import kubernetes_validate

    for folder in FOLDERS:
        for one in written(folder):
            kubernetes_validate.validate(one, version, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        wrong = written("base")[0]
        kubernetes_validate.validate({**wrong, "spec": {**wrong["spec"], "replica": 2}}, version, strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on this machine: kustomize was not run")
@pytest.mark.parametrize("folder", ["base", "migrate"])
def test_kustomize_builds_what_is_there(folder: str) -> None:
    command = ["kubectl", "kustomize", str(DEPLOY / "kubernetes" / folder)]
    built = [*yaml.safe_load_all(subprocess.run(command, capture_output=True, text=True, check=True).stdout)]
    there = {(one["kind"], one["metadata"]["name"]) for one in [*written("namespace"), *written(folder)]}
    made = {(one["kind"], one["metadata"]["name"]) for one in built if one["kind"] != "ConfigMap"}
    assert made == there
    for one in built:
        if one["kind"] in ("Deployment", "Job"):
            pod = one["spec"]["template"]["spec"]
            assert pod["containers"][0]["image"].startswith("registry.example.com/trackwright:")
            (config,) = [v["configMap"]["name"] for v in pod["volumes"] if "configMap" in v]
            assert re.search(r"-[a-z0-9]{10}$", config)  # a changed file rolls the pods


def test_every_pod_is_restricted_as_the_namespace_demands() -> None:
    assert set(pods()) == set(ROLES)
    for role, template in pods().items():
        pod = template["spec"]
        (container,) = pod["containers"]
        held, own = pod["securityContext"], container["securityContext"]
        assert held["runAsNonRoot"] and held["seccompProfile"] == {"type": "RuntimeDefault"}, role
        assert own == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not pod["automountServiceAccountToken"] and pod["terminationGracePeriodSeconds"] > 25
        assert container["resources"]["requests"] and container["resources"]["limits"]["memory"]
        (secrets,) = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
        assert (
            secrets["defaultMode"] == 0o440 and held["fsGroup"] == held["runAsGroup"]
        )  # how who is not root reads them


def test_what_the_pods_start_and_where_they_are_asked_is_as_the_code_and_the_image_have_it() -> None:
    joined = re.sub(r"\\\n", " ", (DEPLOY / "Dockerfile").read_text())
    user = re.findall(r"^USER (\d+):(\d+)$", joined, re.M)[-1]
    assert ast.literal_eval(re.findall(r"^ENTRYPOINT (.+)$", joined, re.M)[-1])[-1] == "tracker.cli"
    for role, template in pods().items():
        pod, (container,) = template["spec"], template["spec"]["containers"]
        name, *options = container["args"]
        assert name == role and cli.get_command(click.Context(cli), name) is not None
        assert options == ["-c", "/etc/trackwright/tracker.yaml"]
        assert (str(pod["securityContext"]["runAsUser"]), str(pod["securityContext"]["runAsGroup"])) == user
        mounted = {one["mountPath"] for one in container["volumeMounts"]}
        assert mounted == {"/etc/trackwright", "/run/secrets/trackwright", "/tmp"}
    (web,) = pods()["web"]["spec"]["containers"]
    ports = {one["name"]: one["containerPort"] for one in web["ports"]}
    assert ports == {"web": Web().port, "metrics": Web().ops_port}
    assert web["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "web"}
    assert web["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "web"}
    for role in ("web", "worker", "scheduler"):
        assert pods()[role]["metadata"]["annotations"]["prometheus.io/port"] == str(Web().ops_port)


def test_the_receiver_alone_is_on_a_service_and_its_metrics_are_not() -> None:
    services = [one for one in written("base") if one["kind"] == "Service"]
    assert [one["metadata"]["name"] for one in services] == ["trackwright-web"]
    assert [port["targetPort"] for port in services[0]["spec"]["ports"]] == ["web"]
    kinds = {(one["kind"], one["metadata"]["name"]) for one in written("base")}
    for role in ("web", "worker", "scheduler"):
        assert ("PodDisruptionBudget", f"trackwright-{role}") in kinds
    scaled = {
        one["spec"]["scaleTargetRef"]["name"] for one in written("base") if one["kind"] == "HorizontalPodAutoscaler"
    }
    assert scaled == {"trackwright-web", "trackwright-worker"}  # a scheduler more brings nothing
    fixed = {
        one["metadata"]["name"] for one in written("base") if one["kind"] == "Deployment" and "replicas" in one["spec"]
    }
    assert fixed == {"trackwright-scheduler"}  # who is scaled has no number of its own: each apply would set it back


@pytest.mark.parametrize("folder", ["base", "migrate"])
def test_the_configuration_of_the_pods_is_one_and_each_secret_of_it_is_mounted(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read with files in the places of the secrets."""
    file = DEPLOY / "kubernetes" / folder / "tracker.yaml"
    assert all(one.startswith("/run/secrets/trackwright/") for one in references(file))
    text = file.read_text()
    values = {
        "database_url": "postgresql://run:x@db/trackwright",
        "broker_url": "redis://redis:6379/0",
        "vault_key": "A" * 43 + "=",
    }
    for one in references(file):
        path = tmp_path / Path(one).name
        path.touch(mode=0o600)
        path.write_text(values.get(path.name, "secret-0123456789"))
        text = text.replace(one, str(path))
    (tmp_path / "tracker.yaml").write_text(text)
    config = load_config(tmp_path / "tracker.yaml")
    assert config.root.database.startswith("postgresql:")
    if folder == "base":
        assert config.root.web.host == config.root.web.ops_host == "0.0.0.0"
        assert all(one.mode == "observe" for one in config.store_accounts())
