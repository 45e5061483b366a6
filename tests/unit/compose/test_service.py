import pytest

from bennu.compose.extension import Probe
from bennu.compose.model import Build, DependsOn, Healthcheck, Resources, Restart, Ulimit
from tests.unit.compose.support import errors, project, service, service_error

OTHER = "  db: {image: postgres}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("build: ./web", Build(context="/work/shop/web")),
        ("build: {}", Build(context="/work/shop")),
        (
            "build: {context: web, dockerfile: ../D, args: {A: 1, HOME: , GONE: }, target: prod}",
            Build(context="/work/shop/web", dockerfile="../D", args={"A": "1", "HOME": "/h"}, target="prod"),
        ),
        (
            "build: {context: /x, args: [A=1, HOME, B=c=d]}",
            Build(context="/x", args={"A": "1", "HOME": "/h", "B": "c=d"}),
        ),
    ],
)
def test_build(text, expected):
    assert service(text, environ={"HOME": "/h"}).build == expected


def test_the_path_of_a_dockerfile():
    assert Build(context="/a/b", dockerfile="../D").dockerfile_path == "/a/D"
    assert Build(context="/a/b", dockerfile="/D").dockerfile_path == "/D"


@pytest.mark.parametrize("context", ["https://x/y.git", "git@x:y", "ssh://x", "github.com/a/b"])
def test_contexts_elsewhere_stay_as_they_are(context):
    build = service(f"build: {{context: '{context}', dockerfile: d/D}}").build
    assert (build.context, build.dockerfile_path, build.is_elsewhere) == (context, "d/D", True)


def test_a_build_with_everything():
    build = service(
        "build:\n      context: app\n      additional_contexts: [base=../b, img=docker-image://x:1]\n"
        "      ssh: [default, key=/k]\n      privileged: true\n      entitlements: [network.host]\n"
        "      extra_hosts: ['a:1.2.3.4']\n      ulimits: {nofile: {soft: 1, hard: 2}}\n"
    ).build
    assert build == Build(
        context="/work/shop/app",
        additional_contexts={"base": "/work/b", "img": "docker-image://x:1"},
        ssh=("default", "key=/k"),
        entitlements=("network.host", "security.insecure"),
        extra_hosts={"a": ("1.2.3.4",)},
        ulimits={"nofile": Ulimit(soft=1, hard=2)},
    )


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("isolation: hyperv", "for Windows only"),
        ("secrets: [a]", "bennu build --secret"),
        ("network: other", "one of default, none, host"),
        ("entitlements: [device]", "no entitlement"),
        ("additional_contexts: {a: 'service:b'}", "docker-image://NAME"),
        ("dockerfile_inline: FROM a, dockerfile: D", "stands beside"),
    ],
)
def test_what_a_build_cannot_honour_is_refused_by_its_name_and_line(keys, message):
    error = service_error(f"build: {{context: ., {keys}}}")
    assert message in f"{error.message} {error.hint}"
    assert error.line == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("command: nginx -g 'daemon off;'", ("nginx", "-g", "daemon off;")),
        ("command: [nginx, -g, 8]", ("nginx", "-g", "8")),
        ("command: []", ()),
        ('command: ""', ()),
        ("command: ", None),
    ],
)
def test_command(text, expected):
    assert service(text).command == expected
    assert service(text.replace("command", "entrypoint")).entrypoint == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("environment: {A: 1, B: yes, C: true, D: 1.50, E: '', HOST: , GONE: }", None),
        ("environment: [A=1, B=yes, C=true, D=1.50, E=, HOST, GONE]", None),
    ],
)
def test_environment_keeps_what_was_written(text, expected):
    found = service(text, environ={"HOST": "h"}).environment
    assert found == {"A": "1", "B": "yes", "C": "true", "D": "1.50", "E": "", "HOST": "h"}


def test_env_files():
    text = "env_file: [a.env, {path: b.env, required: false}]\nenvironment: {B: own}"
    texts = {"/work/shop/a.env": "A=1\nB=a\nC=$HOST", "/work/shop/b.env": None}
    found = service(text, environ={"HOST": "h"}, env_texts=texts).environment
    assert found == {"A": "1", "B": "own", "C": "h"}
    error = service_error("env_file: gone.env")
    assert (error.line, error.message) == (4, "services.web.env_file: file '/work/shop/gone.env' does not exist")
    error = service_error("env_file: a.env", env_texts={"/work/shop/a.env": "ok=1\n%"})
    assert error.where == "/work/shop/a.env:2:1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{test: curl -f localhost}", Healthcheck(test=("CMD-SHELL", "curl -f localhost"))),
        ("{test: [CMD, a, b]}", Healthcheck(test=("CMD", "a", "b"))),
        ("{test: [CMD-SHELL, a b]}", Healthcheck(test=("CMD-SHELL", "a b"))),
        ("{test: [NONE]}", Healthcheck(test=("NONE",))),
        ("{disable: true}", Healthcheck(test=("NONE",))),
        (
            "{interval: 1m30s, timeout: 2s, retries: 5, start_period: 0s, start_interval: 100ms}",
            Healthcheck(
                interval_seconds=90, timeout_seconds=2, retries=5, start_period_seconds=0, start_interval_seconds=0.1
            ),
        ),
        ("{interval: 0s}", Healthcheck()),
    ],
)
def test_healthcheck(text, expected):
    assert service(f"healthcheck: {text}").healthcheck == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{test: [curl, x]}", "begins with 'curl'"),
        ("{test: [CMD]}", "takes a program"),
        ("{test: [CMD-SHELL, a, b]}", "takes one line, and 2 follow"),
        ("{test: []}", "is empty"),
        ("{test: a, disable: true}", "there is a 'test' too"),
        ("{interval: 10}", "perhaps '10s'"),
        ("{retries: 0}", "0 is less than 1"),
        ("{intervall: 1s}", "key 'intervall' is not known"),
        ("5", "should be a mapping"),
    ],
)
def test_bad_healthchecks(text, words):
    assert words in service_error(f"healthcheck: {text}").message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("depends_on: [db]", DependsOn()),
        ("depends_on: {db: }", DependsOn()),
        ("depends_on: {db: {condition: service_healthy}}", DependsOn(condition="service_healthy")),
        (
            "depends_on: {db: {condition: service_completed_successfully, restart: true, required: false}}",
            DependsOn(condition="service_completed_successfully", restart=True, required=False),
        ),
    ],
)
def test_depends_on(text, expected):
    assert service(text, OTHER).depends_on == {"db": expected}


@pytest.mark.parametrize(
    ("text", "replicas", "limits"),
    [
        ("image: x", 1, Resources()),
        ("scale: 3", 3, Resources()),
        ("deploy: {replicas: '${N}'}", 4, Resources()),
        ("deploy: {replicas: 0}", 0, Resources()),
        ("scale: 2\ndeploy: {replicas: 2}", 2, Resources()),
        ("mem_limit: 64m\ncpus: 0.5\npids_limit: 9", 1, Resources(cpus=0.5, memory_bytes=64 << 20, pids=9)),
        ("mem_limit: 0\ncpus: 0\npids_limit: -1", 1, Resources()),
        (
            "deploy: {resources: {limits: {cpus: '1.5', memory: 1g, pids: 5}}}",
            1,
            Resources(cpus=1.5, memory_bytes=1 << 30, pids=5),
        ),
    ],
)
def test_deploy(text, replicas, limits):
    if text.startswith("image"):
        text = ""
    found = service(text, environ={"N": "4"}).deploy
    assert (found.replicas, found.limits) == (replicas, limits)


def test_reservations_and_labels_of_deploy():
    found = service("deploy: {labels: [a=1, b], resources: {reservations: {cpus: 0.25, memory: 32m}}}").deploy
    assert found.reservations == Resources(cpus=0.25, memory_bytes=32 << 20)
    assert found.labels == {"a": "1", "b": ""}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scale: 2\ndeploy: {replicas: 3}", "says 3, and 'services.web.scale' says 2"),
        ("mem_limit: 1m\ndeploy: {resources: {limits: {memory: 2m}}}", "says 2m, and 'services.web.mem_limit' says 1m"),
        ("scale: -1", "-1 is less than 0"),
        ("cpus: -1", "-1 is less than 0"),
        ("deploy: {replcas: 3}", "key 'replcas' is not known"),
        ("container_name: x\nscale: 2", "one name cannot do for 2 replicas"),
    ],
)
def test_bad_deploys(text, words):
    assert words in service_error(text).message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("restart: no", Restart(condition="no")),
        ("restart: 'no'", Restart(condition="no")),
        ("restart: always", Restart(condition="always")),
        ("restart: unless-stopped", Restart(condition="unless-stopped")),
        ("restart: on-failure:3", Restart(condition="on-failure", max_attempts=3)),
        (
            "deploy: {restart_policy: {condition: on-failure, delay: 5s, max_attempts: 2, window: 1m}}",
            Restart(condition="on-failure", max_attempts=2, delay_seconds=5, window_seconds=60),
        ),
        ("deploy: {restart_policy: {}}", Restart(condition="always")),
        ("deploy: {restart_policy: {condition: none}}\nrestart: always", Restart(condition="no")),
        ("", None),
    ],
)
def test_restart(text, expected):
    assert service(text).restart == expected


def test_bad_restarts():
    assert "no restart policy" in service_error("restart: allways").message
    assert "no restart policy" in service_error("restart: always:3").message


@pytest.mark.parametrize(
    ("text", "expected"),
    [("SIGQUIT", "SIGQUIT"), ("quit", "SIGQUIT"), ("9", "9"), ("SIGRTMIN+3", "SIGRTMIN+3")],
)
def test_stop_signal(text, expected):
    assert service(f"stop_signal: {text}").stop_signal == expected


def test_bad_signals():
    error = service_error("stop_signal: SIGQIT")
    assert error.hint == "did you mean 'SIGQUIT'?"
    assert "no signal" in service_error("stop_signal: 99").message


def test_stop_grace_period():
    assert service("stop_grace_period: 1m30s").stop_timeout_seconds == 90
    assert service("").stop_timeout_seconds == 10


def test_capabilities():
    found = service("cap_add: [NET_ADMIN, cap_chown]\ncap_drop: [ALL]")
    assert (found.cap_add, found.cap_drop) == (("NET_ADMIN", "CHOWN"), ("ALL",))
    assert service_error("cap_add: [NET_ADMN]").hint == "did you mean 'NET_ADMIN'?"


@pytest.mark.parametrize("text", ["{a: 1.2.3.4, b: ['::1', host-gateway]}", "[a:1.2.3.4, 'b=[::1]', 'b:host-gateway']"])
def test_extra_hosts(text):
    assert service(f"extra_hosts: {text}").extra_hosts == {"a": ("1.2.3.4",), "b": ("::1", "host-gateway")}


def test_bad_extra_hosts():
    assert "neither an IP address" in service_error("extra_hosts: [a:b]").message
    assert "cannot be a host name" in service_error("extra_hosts: ['=1.2.3.4']").message


def test_ulimits():
    found = service("ulimits: {nofile: 1024, core: -1, nproc: {soft: 1, hard: -1}}").ulimits
    assert found == {
        "nofile": Ulimit(soft=1024, hard=1024),
        "core": Ulimit(soft=-1, hard=-1),
        "nproc": Ulimit(soft=1, hard=-1),
    }
    assert service_error("ulimits: {nofiles: 1}").hint == "did you mean 'nofile'?"
    assert "above the hard limit" in service_error("ulimits: {nofile: {soft: 2, hard: 1}}").message
    assert "both 'soft' and 'hard'" in service_error("ulimits: {nofile: {soft: 2}}").message


def test_other_keys():
    found = service(
        """
        user: "1000:1000"
        working_dir: /srv
        hostname: web.example
        container_name: the-web
        read_only: false
        init: true
        shm_size: 64m
        labels: [a=1, b]
        x-note: {any: [thing]}
        """
    )
    assert (found.user, found.working_dir, found.hostname) == ("1000:1000", "/srv", "web.example")
    assert (found.container_name, found.read_only, found.init) == ("the-web", False, True)
    assert found.shm_size_bytes == 64 << 20
    assert found.labels == {"a": "1", "b": ""}
    assert found.extensions == {"x-note": {"any": ["thing"]}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("working_dir: srv", "is not an absolute path"),
        ("hostname: a b", "cannot be a hostname"),
        ("container_name: -x", "cannot be a container name"),
        ("read_only: perhaps", "neither true nor false"),
        ("image2: x", "key 'image2' is not known in a service"),
        ("environment: ['=x']", "cannot be the name of a variable"),
        ("environment: {A: [x]}", "is a list, should be a single value"),
        ("environment: x", "is a string, should be a list"),
        ("profiles: ['a b']", "cannot be the name of a profile"),
    ],
)
def test_other_errors(text, words):
    assert words in service_error(text).message


def test_probes():
    assert service("x-bennu: {probe: 'http://:8080/up?a=b'}").x_bennu.probe == Probe(
        kind="http", port=8080, path="/up?a=b"
    )
    assert service("x-bennu: {probe: 'tcp://:5432'}").x_bennu.probe == Probe(kind="tcp", port=5432)
    for bad in ("http://host:80/", "tcp://:1/x", "http://:99999/", "8080"):
        assert "is no probe" in service_error(f"x-bennu: {{probe: '{bad}'}}").message


def test_unknown_keys_of_x_bennu_are_refused():
    error = service_error("x-bennu: {wrtes: true}")
    assert error.hint == "did you mean 'writes'?"
    assert "x-own" in service_error("x-bennu: {x-own: 1}").message


def test_the_default_network_can_be_named():
    assert service("networks: [default]").networks == {}
    assert service("networks: {default: }").networks == {}
    assert "network 'back' is not declared" in service_error("networks: [back]").message


def test_a_service_needs_an_image_or_a_build():
    (error,) = errors(project, "services:\n  web: {user: x}\n")
    assert (error.line, error.message) == (2, "services.web: has neither 'image' nor 'build'")
