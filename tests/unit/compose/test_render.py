import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.compose import reader, yaml
from bennu.compose.canonical import project_json
from bennu.compose.render import compose_document, yaml_text
from tests.unit.compose.support import project

EVERYTHING = """
name: p
x-note: [1, {a: b}]
x-bennu:
  keep: 1
  keep_warm: 90s
  max_age: 7d
  rebuild: true
  windows: ["mon-fri 02:00-05:00 Europe/Berlin", "22:00-02:00"]
  jitter: 1h
  snapshot: [data]
  hooks:
    pre_build: {command: [/bin/check, "$$HOME"], blocking: true, timeout: 1m, retries: 0}
    failed: [/bin/tell it, {url: "https://x/y", headers: {A: b, T: {env: TOKEN}}, sign: {file: /key}}]
services:
  web:
    image: x
    build: {context: ., dockerfile: D, args: {A: 1}, target: t}
    command: [a, "it's", "", "$$HOME"]
    entrypoint: []
    environment: {A: "yes", B: "0o17", C: "a\\nb\\n", D: " x", E: "1:2", F: "# no", G: "", H: "$$x", I: "1e3"}
    labels: {a: "true"}
    ports: ["80", "127.0.0.1:81:81/udp", {target: 1, published: 2, app_protocol: http, name: n, mode: host}]
    expose: [5, 6/udp]
    volumes:
      - data:/data
      - ./x:/x:ro,rslave
      - /anonymous
      - {type: bind, source: /c, target: /c, bind: {create_host_path: false, recursive: disabled}}
      - {type: volume, source: data, target: /d2, volume: {nocopy: true, subpath: s}}
      - {type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 0700}}
    tmpfs: ["/run:uid=3,gid=4,exec,mode=1777,size=5", /tmp]
    healthcheck: {test: [CMD, a, $$b], interval: 1.5s, timeout: 1m, retries: 2, start_period: 1h1m1s, start_interval: 10ms}
    depends_on: {db: {condition: service_healthy, restart: true}, once: {condition: service_completed_successfully, required: false}}
    deploy: {replicas: 3, labels: {l: v}, resources: {limits: {cpus: 0.5, memory: 5m, pids: 6}, reservations: {memory: 1m}}}
    restart: on-failure:3
    user: "1000"
    working_dir: /w
    hostname: h
    read_only: true
    init: false
    stop_signal: SIGQUIT
    stop_grace_period: 90s
    cap_add: [NET_ADMIN]
    cap_drop: [ALL]
    extra_hosts: {a: [1.2.3.4, host-gateway]}
    ulimits: {nofile: {soft: 1, hard: 2}}
    shm_size: 64m
    x-own: {c: "$$d"}
    x-bennu: {probe: "http://:80/x", writes: false}
  db:
    image: y
    x-bennu:
      exec: true
      probe: "tcp://:5"
      validate:
        - http://:80/up
        - {http: "http://:80/in", method: POST, headers: {A: b}, body: x, status: [2xx, 302], contains: [hi, ho]}
        - {command: [sh, -c, "true"], image: tools, timeout: 5s, retries: 2}
        - {script: ./smoke.sh fast}
      canary: {for: 30s, weight: 7%, max_errors: 0.7%, min_requests: 50, compare: {p99: 33%}}
      watch: {for: 1m, max_errors: 0.5%, max_p99: 250ms, compare: {errors: 0.1%, p99: 30ms}}
    volumes: [data:/data]
    tmpfs: /tmp
    healthcheck: {disable: true, retries: 9}
    deploy: {restart_policy: {condition: any, delay: 5s, max_attempts: 3, window: 2m}}
  once: {image: z, restart: no, profiles: [dev], container_name: c}
volumes: {data: {labels: {a: b}}, outside: {external: true, name: o}, x: }
"""  # noqa: E501


def again(text):
    return reader.resolve([yaml.parse(text, "again")], {}, directory="/elsewhere", profiles=["*"])


@pytest.mark.parametrize("write", [yaml_text, json.dumps])
def test_what_is_written_reads_the_same(write):
    text = EVERYTHING.replace("healthcheck: {disable: true, retries: 9}", "healthcheck: {disable: true}")
    text = text.replace("db: {condition: service_healthy, restart", "db: {condition: service_started, restart")
    found = project(text, profiles=["*"])
    assert project_json(again(write(compose_document(found)))) == project_json(found)


def test_the_text_is_stable():
    text = "services:\n  b: {image: $$x, environment: {Z: 1, A: 'yes'}}\n  a: {image: y, command: x y}\n"
    assert yaml_text(compose_document(project(text))) == (
        "name: shop\n"
        "networks:\n"
        "  default:\n"
        "    name: shop_default\n"
        "services:\n"
        "  a:\n"
        "    command:\n"
        "    - x\n"
        "    - y\n"
        "    image: y\n"
        "    networks:\n"
        "      default: null\n"
        "  b:\n"
        "    environment:\n"
        "      A: 'yes'\n"
        '      Z: "1"\n'
        "    image: $$x\n"
        "    networks:\n"
        "      default: null\n"
    )


def test_lines_are_shown_as_lines():
    found = compose_document(project('services: {a: {image: x, environment: {A: "one\\n two\\n"}}}'))
    assert "      A: |\n        one\n         two\n" in yaml_text(found)


TEXTS = st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n\t"), max_size=30)


@given(st.dictionaries(st.from_regex(r"[A-Z]{1,5}", fullmatch=True), TEXTS, max_size=4), st.lists(TEXTS, max_size=4))
def test_any_text_comes_back(environment, command):
    document = {
        "services": {"a": {"image": "x", "environment": environment, "command": command}},
    }
    escaped = json.loads(json.dumps(document).replace("$", "$$"))
    read = reader.resolve([yaml.parse(yaml_text(escaped), "f")], {}, directory="/x")
    assert read.services["a"].environment == environment
    assert list(read.services["a"].command) == command
    assert project_json(again(yaml_text(compose_document(read)))).replace(b"again", b"f") == project_json(
        reader.resolve([yaml.parse(yaml_text(escaped), "f")], {}, directory="/x", name=read.name)
    )
