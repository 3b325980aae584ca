"""What lies in deploy/ is well-formed, and names only ports, commands and metrics that exist."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from pocketnode.cli.main import main
from pocketnode.gateway.metrics import Metrics as GatewayMetrics
from pocketnode.supplier import metrics as supplier_metrics
from tests.deploy.helm import helm

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "pocketnode"
METRIC = re.compile(r"\bpocketnode_(?:gateway|supplier)_[a-z_]+")
SUFFIXES = ("_bucket", "_sum", "_count", "_total", "_created")


def metric_names() -> set[str]:
    """Return the metrics that the daemons have, without the suffixes that Prometheus adds."""
    gateway = GatewayMetrics().exposition(list).decode()
    declared = re.findall(r"^# TYPE (\S+)", gateway, re.MULTILINE)
    table = re.findall(r"^\| (pocketnode_supplier_\w+)", supplier_metrics.__doc__ or "", re.MULTILINE)
    return {bare(name) for name in [*declared, *table]}


def bare(name: str) -> str:
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def expressions(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("expr"), str):
            yield value["expr"]
        for inner in value.values():
            yield from expressions(inner)
    if isinstance(value, list):
        for inner in value:
            yield from expressions(inner)


@pytest.mark.parametrize("file", ["grafana/pocketnode.json", "prometheus/alerts.yaml"])
def test_boards_and_alerts_use_metrics_that_exist(file: str) -> None:
    text = (DEPLOY / file).read_text()
    found = json.loads(text) if file.endswith("json") else yaml.safe_load(text)
    wanted = {bare(name) for expr in expressions(found) for name in METRIC.findall(expr)}
    assert wanted
    assert wanted <= metric_names()


def test_each_alert_is_explained() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())
    page = (ROOT / "docs" / "operations.md").read_text()
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert set(rule["annotations"]) == {"summary", "description"}
            assert rule["labels"]["severity"] == "info" or rule["alert"] in page, f"docs/operations.md: {rule['alert']}"


def test_the_image_runs_without_root_and_pins_what_it_installs() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    stages = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(stages) == 2
    assert all(":" in stage and not stage.endswith(":latest") for stage in stages)
    assert re.search(r"^USER 10001", text, re.MULTILINE)
    assert "--constraint" in text
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        assert all((ROOT / name).exists() for name in source.split()), source


def test_compose_starts_commands_that_exist() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert set(services) == {"gateway", "supplier", "localnet"}
    for name in ("gateway", "supplier"):
        service = services[name]
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert CliRunner().invoke(main, [*service["command"][:2], "--help"]).exit_code == 0
        admin = [port for port in service["ports"] if port.startswith("127.0.0.1:")]
        assert len(admin) == 1, "the admin listener is published to this host alone"


@pytest.mark.parametrize("unit", [*DEPLOY.glob("*.service"), *DEPLOY.glob("systemd/*.service")], ids=lambda u: u.name)
def test_units_are_confined(unit: Path) -> None:
    text = unit.read_text()
    words = re.search(r"^ExecStart=\S+/pocketnode (.+?) --config", text, re.MULTILINE)
    assert words
    assert CliRunner().invoke(main, [*words[1].split(), "--help"]).exit_code == 0
    for line in ("User=pocketnode", "NoNewPrivileges=true", "ProtectSystem=strict"):
        assert line in text


def test_the_charts_values_fit_their_schema() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(schema["required"]) <= set(values)
    used = set(re.findall(r"\.Values\.(\w+)", "".join(p.read_text() for p in CHART.glob("templates/*"))))
    assert used == set(values), "each value is used, each used one has a default"
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["apiVersion"] == "v2"


@pytest.mark.parametrize("role", ["gateway", "supplier"])
def test_the_chart_renders(role: str) -> None:
    program = helm()
    if program is None:
        pytest.skip("no helm for this machine: the chart's values are checked, its templates are not rendered")
    options = ["--set", f"role={role}", "--set", "monitor.enabled=true", "--set", "replicas=3"]
    subprocess.run([program, "lint", "--strict", CHART, *options], check=True, capture_output=True)
    made = subprocess.run([program, "template", "shop", CHART, *options], check=True, capture_output=True, text=True)
    parts = {found["kind"]: found for found in yaml.safe_load_all(made.stdout) if found}
    kinds = sorted(found["kind"] for found in yaml.safe_load_all(made.stdout) if found)
    assert kinds == ["ConfigMap", "Service", "Service", "ServiceMonitor", "StatefulSet"]
    (container,) = parts["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    told = {each["name"]: each["value"] for each in container.get("env", [])}
    assert parts["StatefulSet"]["spec"]["replicas"] == int(told.get("POCKETNODE_SUPPLIER__LIMITS__REPLICAS", 1))
    assert (parts["StatefulSet"]["spec"]["replicas"] == 3) == (role == "supplier")
    command = [*container.get("command", []), *container.get("args", [])]
    words = command[command.index(role) :][:2]
    assert CliRunner().invoke(main, [*words, "--help"]).exit_code == 0
    assert yaml.safe_load(parts["ConfigMap"]["data"][f"{role}.yaml"])["deployment"]
