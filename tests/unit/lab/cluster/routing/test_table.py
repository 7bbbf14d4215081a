"""Which address leads to which pods."""

from __future__ import annotations

import base64
from typing import Any

from dr.lab.cluster.routing.table import Table, table

MODEL = {
    "metadata": {"name": "model", "namespace": "system"},
    "spec": {"clusterIP": "10.96.3.7", "ports": [{"name": "http", "port": 8001}]},
}


def endpoint(address: str, ready: bool | None = True, pod: bool = True) -> dict[str, Any]:
    found: dict[str, Any] = {"addresses": [address], "conditions": {} if ready is None else {"ready": ready}}
    return {**found, "targetRef": {"kind": "Pod"}} if pod else found


def endpoints(*found: dict[str, Any], service: str = "model") -> dict[str, Any]:
    return {
        "metadata": {"name": "x", "namespace": "system", "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": "http", "port": 8081}],
        "endpoints": list(found),
    }


def ingress(*paths: tuple[str, str, int]) -> dict[str, Any]:
    listed = [
        {"path": path, "backend": {"service": {"name": name, "port": {"number": port}}}} for path, name, port in paths
    ]
    metadata = {"name": "i", "namespace": "system"}
    return {"metadata": metadata, "spec": {"rules": [{"host": "api.example", "http": {"paths": listed}}]}}


def routed(*slices: dict[str, Any], ingresses: tuple[dict[str, Any], ...] = ()) -> Table:
    return table([MODEL], slices, ingresses, [], 77)


def test_a_service_leads_to_its_ready_pods_at_their_own_port() -> None:
    found = routed(endpoints(endpoint("10.44.1.2"), endpoint("10.44.2.2", None), endpoint("10.44.3.2", False)))
    assert found.services == {("127.77.3.7", 8001): (("127.44.1.2", 8081), ("127.44.2.2", 8081))}


def test_a_service_without_pods_leads_nowhere_and_is_listened_for_all_the_same() -> None:
    assert routed().services == {("127.77.3.7", 8001): ()}
    assert routed(endpoints(endpoint("10.44.1.2"), service="other")).services == {("127.77.3.7", 8001): ()}


def test_what_is_no_pod_is_led_to_by_nobody() -> None:
    assert routed(endpoints(endpoint("10.0.0.1", pod=False))).services == {("127.77.3.7", 8001): ()}


def test_slices_of_one_service_are_taken_together() -> None:
    found = routed(endpoints(endpoint("10.44.1.2")), endpoints(endpoint("10.44.1.3"), endpoint("10.44.1.2")))
    assert found.services["127.77.3.7", 8001] == (("127.44.1.2", 8081), ("127.44.1.3", 8081))


def test_a_service_is_named_as_a_cluster_s_dns_names_it() -> None:
    assert (
        routed().hosts_file() == "127.77.3.7 10.96.3.7 model.system.svc.cluster.local model.system.svc model.system\n"
    )


def test_a_headless_service_has_no_address() -> None:
    headless = {"metadata": {"name": "h", "namespace": "system"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}}
    assert table([headless], [], [], [], 77) == Table()


def test_a_host_leads_by_the_longest_path_that_fits() -> None:
    other = {
        "metadata": {"name": "other", "namespace": "system"},
        "spec": {"clusterIP": "10.96.3.8", "ports": [{"name": "http", "port": 80}]},
    }
    slices = [endpoints(endpoint("10.44.1.2")), endpoints(endpoint("10.44.1.9"), service="other")]
    found = table([MODEL, other], slices, [ingress(("/", "model", 8001), ("/deep", "other", 80))], [], 77)
    assert found.backends("api.example", "/predict") == (("127.44.1.2", 8081),)
    assert found.backends("api.example", "/deep/x") == (("127.44.1.9", 8081),)
    assert found.backends("api.example", "/deeper") == (("127.44.1.2", 8081),)
    assert found.backends("other.example", "/") is None


def test_a_host_whose_service_is_not_there_has_no_pods() -> None:
    found = routed(ingresses=(ingress(("/", "gone", 80)),))
    assert found.backends("api.example", "/") == ()
    assert routed(ingresses=(ingress(("/x", "model", 8001)),)).backends("api.example", "/") is None


def test_a_host_has_the_certificate_of_the_secret_that_its_ingress_names() -> None:
    def certificate(**data: str) -> dict[str, Any]:
        encoded = {name.replace("_", "."): base64.b64encode(value.encode()).decode() for name, value in data.items()}
        return {"metadata": {"name": "tls", "namespace": "system"}, "data": encoded}

    served = ingress(("/", "model", 8001))
    served["spec"]["tls"] = [{"hosts": ["api.example"], "secretName": "tls"}]
    found = table([MODEL], [], [served], [certificate(tls_crt="chain-", tls_key="key")], 77)
    assert found.certificates == {"api.example": "chain-key"}
    assert "key" not in repr(found)
    for lacking in ([], [certificate()], [{**certificate(tls_crt="c"), "metadata": {"name": "tls", "namespace": "x"}}]):
        assert table([MODEL], [], [served], lacking, 77).certificates == {}
