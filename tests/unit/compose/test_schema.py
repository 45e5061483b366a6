"""The table of keys and the readers agree: what is called supported is read, and changes what is read."""

import pytest

from bennu.compose import schema
from tests.unit.compose.support import errors, project, service

SERVICE_SAMPLES = {
    "build": "{context: elsewhere}",
    "cap_add": "[NET_ADMIN]",
    "cap_drop": "[ALL]",
    "command": "run it",
    "configs": "[c]",
    "container_name": "one",
    "cpu_shares": "512",
    "cpuset": "0-1",
    "dns": "1.1.1.1",
    "dns_opt": "[use-vc]",
    "dns_search": "example.com",
    "group_add": "[mail]",
    "links": "[db]",
    "mem_reservation": "1m",
    "memswap_limit": "2m",
    "oom_score_adj": "100",
    "sysctls": "{net.core.somaxconn: 1024}",
    "cpus": "0.5",
    "depends_on": "[db]",
    "deploy": "{replicas: 2}",
    "entrypoint": "run it",
    "env_file": "{path: web.env}",
    "environment": "{B: 1}",
    "expose": "[80]",
    "extra_hosts": "{a: 1.2.3.4}",
    "healthcheck": "{retries: 4}",
    "hostname": "web",
    "image": "other",
    "init": "true",
    "label_file": "web.labels",
    "labels": "[a]",
    "mem_limit": "1m",
    "pids_limit": "5",
    "ports": "[80]",
    "profiles": "[dev]",
    "pull_policy": "always",
    "read_only": "true",
    "restart": "always",
    "scale": "3",
    "secrets": "[s]",
    "shm_size": "1m",
    "stop_grace_period": "1s",
    "stop_signal": "QUIT",
    "tmpfs": "/run",
    "ulimits": "{core: 0}",
    "user": "ada",
    "volumes": "[/data]",
    "working_dir": "/srv",
    "x-bennu": "{writes: true}",
}
NESTED_SAMPLES = {
    "BUILD": (
        "build: {%s}",
        {
            "additional_contexts": "{a: ../b}",
            "args": "{A: 1}",
            "context": "x",
            "dockerfile": "D",
            "dockerfile_inline": "FROM a",
            "entitlements": "[network.host]",
            "extra_hosts": "{a: 1.2.3.4}",
            "labels": "{a: b}",
            "network": "none",
            "no_cache": "true",
            "pull": "true",
            "no_cache_filter": "one",
            "platforms": "[linux/arm64]",
            "privileged": "true",
            "shm_size": "1g",
            "ssh": "[default]",
            "tags": "[a:b]",
            "target": "t",
            "ulimits": "{nofile: 5}",
        },
    ),
    "PORT": (
        "ports: [{target: 1, %s}]",
        {
            "app_protocol": "http",
            "host_ip": "1.2.3.4",
            "mode": "host",
            "name": "n",
            "protocol": "udp",
            "published": "1",
        },
    ),
    "MOUNT_BIND": (
        "volumes: [{type: bind, source: /, target: /x, bind: {%s}}]",
        {"create_host_path": "false", "propagation": "slave", "recursive": "disabled"},
    ),
    "MOUNT_VOLUME": ("volumes: [{type: volume, target: /x, volume: {%s}}]", {"nocopy": "true", "subpath": "a"}),
    "MOUNT_TMPFS": ("volumes: [{type: tmpfs, target: /x, tmpfs: {%s}}]", {"mode": "0700", "size": "1m"}),
    "HEALTHCHECK": (
        "healthcheck: {%s}",
        {
            "disable": "true",
            "interval": "1s",
            "retries": "1",
            "start_interval": "1s",
            "start_period": "1s",
            "test": "x",
            "timeout": "1s",
        },
    ),
    "DEPENDENCY": (
        "depends_on: {db: {%s}}",
        {"condition": "service_healthy", "required": "false", "restart": "true"},
    ),
    "LIMITS": ("deploy: {resources: {limits: {%s}}}", {"cpus": "1", "memory": "1m", "pids": "1"}),
    "RESERVATIONS": ("deploy: {resources: {reservations: {%s}}}", {"cpus": "1", "memory": "1m"}),
    "RESTART_POLICY": (
        "deploy: {restart_policy: {%s}}",
        {"condition": "none", "delay": "1s", "max_attempts": "1", "window": "1s"},
    ),
    "X_BENNU": (
        "tmpfs: /t\nx-bennu: {%s}",
        {
            "exec": "true",
            "probe": "tcp://:1",
            "writes": "false",
            "validate": "http://:1/",
            "canary": "5s",
            "watch": "5s",
            "quiesce": "sync",
        },
    ),
    "VALIDATION": (
        "x-bennu: {validate: [{http: 'http://:1/', %s}]}",
        {
            "method": "PUT",
            "headers": "{a: b}",
            "body": "x",
            "status": "201",
            "contains": "x",
            "timeout": "2s",
            "retries": "1",
        },
    ),
    "WATCH": (
        "x-bennu: {watch: {for: 1m, %s}}",
        {"max_errors": "1%", "max_p99": "1s", "compare": "{errors: 2%}"},
    ),
    "CANARY": (
        "x-bennu: {canary: {for: 1m, %s}}",
        {"max_errors": "1%", "max_p99": "1s", "compare": "{errors: 2%}", "min_requests": "9", "weight": "7%"},
    ),
    "COMPARISON": ("x-bennu: {watch: {for: 1m, compare: {%s}}}", {"errors": "2%", "p99": "20%"}),
    "QUIESCE": ("x-bennu: {quiesce: {command: sync, %s}}", {"resume": "true", "timeout": "5s"}),
}
OTHER = "  db: {image: postgres}\nconfigs: {c: {file: x}}\nsecrets: {s: {file: x}}\n"
# what each form has already, and the kinds of validation, which exclude each other
ELSEWHERE = {"target", "for", "http", "command", "script", "image"}


def supported(section):
    return {name for name, key in section.items() if key.standing == "supported"}


def test_every_supported_key_of_a_service_has_a_sample():
    assert set(SERVICE_SAMPLES) == supported(schema.SERVICE) - {"networks", "extends", "security_opt"}


@pytest.mark.parametrize("key", sorted(SERVICE_SAMPLES))
def test_a_supported_key_is_read(key):
    options = {"env_texts": {"/work/shop/web.env": "E=1", "/work/shop/web.labels": "l=1"}, "profiles": ["dev"]}
    image = "" if key == "image" else "    image: nginx\n"
    text = f"services:\n  web:\n{image}    {key}: {SERVICE_SAMPLES[key]}\n{OTHER}"
    found = project(text, **options).services["web"]
    plain = project(f"services:\n  web: {{image: nginx}}\n{OTHER}").services["web"]
    assert found != plain


@pytest.mark.parametrize("section", sorted(NESTED_SAMPLES))
def test_supported_keys_below_a_service_are_read(section):
    form, samples = NESTED_SAMPLES[section]
    assert set(samples) | ELSEWHERE >= supported(getattr(schema, section))
    without = service(form.replace(", %s", "").replace("%s", ""), OTHER)
    for key, value in samples.items():
        assert service(form % f"{key}: {value}", OTHER) != without, key


@pytest.mark.parametrize(
    "form",
    ["build: {%s: 1}", "ports: [{target: 1, %s: 1}]", "healthcheck: {%s: 1}", "deploy: {%s: 1}", "x-bennu: {%s: 1}"],
)
def test_unknown_keys_are_refused_at_every_level(form):
    (error,) = errors(service, form % "unheard_of")
    assert "key 'unheard_of' is not known" in error.message
    assert error.line == 4


def test_extensions_are_taken_at_every_level_of_compose():
    service("build: {x-a: 1}\nhealthcheck: {x-a: 1}\ndeploy: {x-a: 1}\nports: [{target: 1, x-a: 1}]\nx-a: 1")


def test_each_reason_completes_a_message():
    for name in dir(schema):
        section = getattr(schema, name)
        if name.isupper() and isinstance(section, dict):
            for key, entry in section.items():
                assert (entry.standing == "supported") == (entry.reason == ""), key
                assert entry.reason == "" or entry.reason.startswith(("is ", "has ")), key
