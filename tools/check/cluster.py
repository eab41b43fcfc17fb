"""Runs a study on a Slurm cluster of this machine alone, with nodes that die, and compares it with one process's.

    python3 tools/check cluster [--arch instructblip] [--tiny] [--seed 1]    `make test-cluster`

A controller and two nodes on loopback, in a folder and on ports of their own, run tools/slurm: convert, eight shards
of activation, identify, eight shards of generate, report. On the way tasks are cancelled and submitted again, a node
is killed with its tasks, a task meets its time limit. All that was started is stopped in the end, whatever happens.
Needs root; installs Debian's slurmctld, slurmd, slurm-client and munge where they are missing. Python's standard
library otherwise.
"""

import argparse
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tools.common.commands import output_of, parser
from tools.common.families import CHECKPOINTS
from tools.common.paths import DEMO, MMQ, ROOT
from tools.common.trial import Failure, Trial, contents, difference

PACKAGES = {"slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client", "munged": "munge"}
NODES = ["n1", "n2"]
SHARDS = 8
# Seconds. A task must come from its start to its first sample within them, or it never ends.
SAVE_EVERY = 8
# The daemons carry it in their environment: by it they and what they started are found again.
MARK = "MMQ_TEST_CLUSTER"


def install() -> None:
    missing = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    if os.geteuid() != 0 or (missing and shutil.which("apt-get") is None):
        raise SystemExit(f"needs root, and {', '.join(PACKAGES.values())}, which apt-get has on Debian and Ubuntu")
    if missing:
        print(f"Installing {' '.join(missing)} ...", flush=True)
        output_of(["apt-get", "update", "-qq"])
        output_of(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
                  env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """One slurmctld, two slurmd and their munged, in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.host = socket.gethostname().split(".")[0]
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), MARK: str(folder)}
        self.daemons: dict[str, subprocess.Popen] = {}
        for name in ["state", "munge", *NODES]:
            (folder / name).mkdir(mode=0o755, parents=True)
        folder.chmod(0o755)  # munged wants its socket where everybody comes
        key = folder / "munge/key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={self.host} NodeAddr=127.0.0.1 Port={free_port()} CPUs=2 RealMemory=1000"
            for name in NODES)
        (folder / "slurm.conf").write_text(f"""\
ClusterName=mmq
SlurmctldHost={self.host}(127.0.0.1)
SlurmctldPort={free_port()}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n/pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2
ReturnToService=2
SlurmdTimeout=10
KillWait=20
{nodes}
PartitionName=all Nodes=ALL Default=YES State=UP
""")

    def start(self) -> None:
        munge = self.folder / "munge"
        self.launch("munged", ["munged", "--foreground", "--force", f"--key-file={munge}/key",
                               f"--socket={munge}/socket", f"--pid-file={munge}/pid", f"--seed-file={munge}/seed",
                               f"--log-file={munge}/log"])
        self.wait_for("munged", lambda: (munge / "socket").exists())
        self.launch("slurmctld", ["slurmctld", "-D", "-c"])
        for node in NODES:
            self.launch(node, ["slurmd", "-D", "-N", node])
        self.wait_for("nodes that are idle", lambda: self.ask("sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * 2)

    def launch(self, name: str, words: list[str]) -> None:
        with open(self.folder / f"{name}.out", "a") as log:
            self.daemons[name] = subprocess.Popen(
                words, env=self.environment | {MARK: f"{self.folder}:{name}"}, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log)

    def ask(self, *words: str) -> str:
        """What a command of Slurm prints; nothing where it fails."""
        return subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60).stdout

    def wait_for(self, what: str, holds, seconds: float = 300) -> None:
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                raise Failure(f"waited {seconds:.0f} s for {what}\n{self.ask('squeue')}{self.ask('sinfo', '-N')}")
            time.sleep(0.2)

    def processes(self, name: str = "") -> list[int]:
        """A daemon's process, the tasks it started, and all below them; of all daemons without a name."""
        parents, found = {}, set()
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                environment = (folder / "environ").read_bytes().split(b"\0")
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it has ended
            mark = f"{MARK}={self.folder}:{name}".encode()
            if any(word.startswith(mark) for word in environment):
                found.add(int(folder.name))
        while more := {child for child, parent in parents.items() if parent in found} - found:
            found |= more
        return sorted(found - {os.getpid()})

    def kill(self, name: str = "") -> int:
        """Kills a node with all that runs on it, as if its power were gone; everything without a name."""
        count = 0
        while there := self.processes(name):
            for process in there:
                try:
                    os.kill(process, signal.SIGKILL)
                    count += 1
                except ProcessLookupError:
                    pass
            for daemon in self.daemons.values():
                daemon.poll()
        return count


class ClusterTest(Trial):
    def __init__(self, options: argparse.Namespace, work: Path):
        super().__init__(options.mmq.resolve(), options.arch, work, *((1200, 160) if options.tiny else (100, 130)))
        if not options.tiny:
            self.checkpoint = DEMO / options.arch
            self.bench = DEMO / "bench"
            self.domains = "ad,med,rs,com,doc"
        self.random = random.Random(options.seed)
        self.cluster = Cluster(work / "cluster")
        self.folder = work / "study"
        self.folder.mkdir()
        (work / "scratch").mkdir()

    def options_of(self, command: str) -> str:
        """A command's options as study.conf has them: those that a step of study.sbatch does not give."""
        words = self.arguments(command, Path("study"))
        given = {"--model", "--bench", "--study"}
        pairs = zip(words[::2], words[1::2], strict=True)
        return " ".join(f"{key} {value}" for key, value in pairs if key not in given)

    def configure(self) -> None:
        (self.folder / "study.conf").write_text(f"""\
MMQ={self.mmq}
CHECKPOINT={self.checkpoint}
BENCH={self.bench}
SHARDS={SHARDS}
CONVERT=(--type q4_0)
ACTIVATION=({self.options_of('activation')})
IDENTIFY=({self.options_of('identify')})
GENERATE=({self.options_of('generate')})
SCORE=(--judge exact)
TASK=(--cpus-per-task=1 --mem=100M)
SCRATCH={self.work}/scratch
SAVE_EVERY={SAVE_EVERY}
""")

    def submit(self) -> dict[str, str]:
        """Submits what is left. Step → its job."""
        lines = output_of([ROOT / "tools/slurm/submit.sh"], cwd=self.folder, env=self.cluster.environment).splitlines()
        return dict(line.split() for line in lines)

    def at_work(self, command: str, node: str) -> list[str]:
        """The tasks of a node in which mmq runs a command."""
        tasks = []
        for process in self.cluster.processes(node):
            folder = Path(f"/proc/{process}")
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                variables = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue  # it has ended
            if words[:2] == [bytes(self.mmq), command.encode()]:
                tasks += [variable.decode().split("=")[1] for variable in variables
                          if variable.startswith(b"SLURM_ARRAY_TASK_ID=")]
        return tasks

    def wait_for_tasks(self, command: str, node: str = "n") -> list[str]:
        tasks: list[str] = []
        self.cluster.wait_for(f"a task of {command}", lambda: tasks.extend(self.at_work(command, node)) or tasks)
        return tasks

    def wait_for_restart(self, command: str, task: str, count: int = 1) -> None:
        log = self.folder / f"logs/{command}-{task}.log"
        self.cluster.wait_for(f"task {task} to start again", lambda: f", start {count}" in log.read_text())

    def lose_node(self, command: str) -> None:
        lost: list[str] = []

        def in_the_middle() -> bool:
            lost[:] = self.at_work(command, "n1")
            return any((self.folder / f"shards/{command}-{task}").exists() for task in lost)

        self.cluster.wait_for("a task on n1 that has left a copy", in_the_middle)
        count = self.cluster.kill("n1")
        print(f"{command}: n1 killed with tasks {', '.join(lost)} ({count} processes)", flush=True)
        state = ["sinfo", "-h", "-n", "n1", "-o", "%T"]
        self.cluster.wait_for("n1 to be down", lambda: "down" in self.cluster.ask(*state))
        self.cluster.launch("n1", ["slurmd", "-D", "-N", "n1"])
        for task in lost:
            self.wait_for_restart(command, task)
        print(f"{command}: tasks {', '.join(lost)} were requeued", flush=True)

    def cancel(self, command: str, job: str) -> None:
        task = self.random.choice(self.wait_for_tasks(command))
        self.cluster.ask("scancel", f"{job}_{task}")
        print(f"{command}: task {task} cancelled", flush=True)

    def meet_limit(self, command: str, job: str) -> None:
        """Tells a task what Slurm tells it ten minutes before its time is over."""
        task = self.random.choice(self.wait_for_tasks(command))
        self.cluster.ask("scancel", "--batch", "--signal=USR1", f"{job}_{task}")
        self.wait_for_restart(command, task)
        print(f"{command}: task {task} told of its time limit; it ended and was requeued", flush=True)

    def finish(self) -> None:
        self.cluster.wait_for("all jobs to end", lambda: not self.cluster.ask("squeue", "-h").strip(), 1800)

    def check(self) -> None:
        self.configure()
        self.cluster.start()
        jobs = self.submit()
        self.cancel("activation", jobs["activation"])
        self.finish()
        if (self.folder / "counted.sqlite").exists():
            raise Failure("identify ran without the cancelled task's shard")
        jobs = self.submit()
        print(f"submitted again: {', '.join(jobs)}", flush=True)
        self.lose_node("generate")
        self.meet_limit("generate", jobs["generate"])
        self.cancel("generate", jobs["generate"])
        self.finish()
        jobs = self.submit()
        print(f"submitted again: {', '.join(jobs)}", flush=True)
        self.finish()
        if not (self.folder / "report.html").exists():
            raise Failure(f"no report: {sorted(path.name for path in self.folder.rglob('*'))}")
        if left := sorted(path.name for path in self.folder.rglob("*.part")):
            print(f"left by what was killed: {', '.join(left)}")

    def compare(self) -> None:
        self.model = self.folder / "model"
        whole = self.work / "whole"
        for command in ["activation", "identify", "generate"]:
            output_of([self.mmq, command, *self.arguments(command, whole)])
        if name := difference(contents(whole), contents(self.folder / "study.sqlite")):
            raise Failure(f"the table {name} is not that of one process")
        print("every table equal to one process's", flush=True)


def main() -> int:
    given = parser(__doc__)
    given.add_argument("--arch", choices=CHECKPOINTS, default="llava-next")
    given.add_argument("--tiny", action="store_true", help="a tiny model of random weights and a bench for it")
    given.add_argument("--seed", type=int, default=1)
    given.add_argument("--keep", type=Path, metavar="DIR", help="work in this new folder, and leave it")
    given.add_argument("--mmq", type=Path, default=MMQ)
    options = given.parse_args()
    install()
    signal.signal(signal.SIGTERM, lambda *_: exit(143))
    work = options.keep or Path(tempfile.mkdtemp(prefix="mmq-cluster-"))
    work.mkdir(exist_ok=True)
    test = ClusterTest(options, work.resolve())
    try:
        test.check()
        test.compare()
    except Failure as failure:
        print(failure)
        return 1
    finally:
        test.cluster.kill()
        if not options.keep:
            shutil.rmtree(work)
    return 0
