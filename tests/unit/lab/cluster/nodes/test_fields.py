"""Fields that the agent does not honour are named."""

from __future__ import annotations

from typing import Any

import pytest

from dr.lab.cluster.nodes.fields import refused
from tests.unit.lab.cluster.nodes.pod import container, pod


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"hostNetwork": True}, "spec.hostNetwork"),
        ({"runtimeClassName": "gvisor"}, "spec.runtimeClassName"),
        ({"securityContext": {"fsGroup": 1}}, "spec.securityContext"),
        ({"volumes": [{"name": "v", "nfs": {"server": "x"}}]}, "spec.volumes[v].nfs"),
        ({"volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}]}, "spec.volumes[v].emptyDir.medium"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/etc"}}]}, "spec.volumes[v].hostPath.path=/etc"),
        ({"dnsPolicy": "None"}, "spec.dnsPolicy=None"),
        ({"os": {"name": "windows"}}, "spec.os.name=windows"),
    ],
)
def test_a_field_of_a_pod_that_is_not_honoured_is_named(spec: dict[str, Any], path: str) -> None:
    assert refused(pod(**spec)) == (path,)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"lifecycle": {"preStop": {"exec": {"command": ["x"]}}}}, "lifecycle.preStop.exec"),
        ({"securityContext": {"runAsNonRoot": False}}, "securityContext"),
        ({"stdin": False}, "stdin"),
        ({"livenessProbe": {"grpc": {"port": 1}}}, "livenessProbe.grpc"),
        ({"readinessProbe": {"httpGet": {"port": 1, "scheme": "HTTPS"}}}, "readinessProbe.httpGet.scheme=HTTPS"),
        ({"ports": [{"containerPort": 1, "hostPort": 1}]}, "ports[0].hostPort"),
        ({"ports": [{"containerPort": 1, "protocol": "UDP"}]}, "ports[0].protocol=UDP"),
        ({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"r": 1}}}]}, "env[A].valueFrom.resourceFieldRef"),
        ({"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "x"}]}, "volumeMounts[v].subPath"),
    ],
)
def test_a_field_of_a_container_that_is_not_honoured_is_named(fields: dict[str, Any], path: str) -> None:
    assert refused(pod(container(**fields))) == (f"spec.containers[api].{path}",)


def test_all_that_is_not_honoured_is_named_at_once() -> None:
    assert len(refused(pod(container(tty=True), hostPID=True))) == 2


def test_what_the_api_server_adds_to_every_pod_is_honoured() -> None:
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    plain = container(
        imagePullPolicy="IfNotPresent",
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        volumeMounts=[{"name": "kube-api-access", "mountPath": "/var/run/secrets/x", "readOnly": True}],
    )
    defaulted = pod(
        plain,
        dnsPolicy="ClusterFirst",
        enableServiceLinks=True,
        nodeName="general-1",
        preemptionPolicy="PreemptLowerPriority",
        priority=0,
        restartPolicy="Always",
        schedulerName="default-scheduler",
        securityContext={},
        serviceAccount="default",
        serviceAccountName="default",
        terminationGracePeriodSeconds=30,
        tolerations=[{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}],
        volumes=[{"name": "kube-api-access", "projected": {"defaultMode": 420, "sources": sources}}],
    )
    assert refused(defaulted) == ()
