"""Two engines that were given the same thing: a socket, a data directory, an account (fault 41)."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from todoke.bench.smsc_log import LogEvent, read_log
from todoke_tests_site import Reports, Sender, Site, carrier, kill, stop, until

WINDOW = 20
MESSAGES = 200


class Two:
    """Two nodes in one directory, each with its socket; the SMSC grants one bind."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.smsc, self.host = site.smsc(binds_max=1, response_delay_s=0.02)
        self.sites: list[Site] = []

    def start(self, name: str, data: str) -> tuple[Site, subprocess.Popen[str]]:
        """A node of this account, its embedded store in `data`."""
        site = Site(self.site.directory)
        site.socket = self.site.directory / f"{name}.sock"
        self.sites.append(site)
        config = carrier(self.host, window=WINDOW, lease_s=3.2, history_s=1)
        config += f'[node]\ndata = "{data}"\n[intake]\nsocket = "{name}.sock"\n'
        file = f"{name}.toml"
        (site.directory / file).write_text(config)
        process = self.site.start(f"serve.{name}", "todoke.engine.cli", "serve", file)
        until(lambda: process.poll() is not None or site.status(), self.site.errors)
        assert process.poll() is None, self.site.errors()
        return site, process

    def log(self) -> list[LogEvent]:
        return [one for one in read_log(self.site.directory / "smsc.log") if isinstance(one, LogEvent)]


def pid_in(data: Path) -> int:
    """The embedded server of a data directory, 0 if there is none."""
    with suppress(OSError, ValueError):
        return int((data / "server.pid").read_text())
    return 0


@pytest.mark.fault(41)
def test_fault_41_one_socket(site: Site) -> None:
    """The second is refused and says why; the first never notices."""
    two = Two(site)
    first, process = two.start("a", "run")
    words = [sys.executable, "-P", "-m", "todoke.engine.cli", "serve", "a.toml"]
    second = subprocess.run(
        words, cwd=site.directory, stderr=subprocess.PIPE, text=True, timeout=30, check=False
    )
    assert second.returncode == 1
    assert "another server listens on it" in second.stderr
    assert "Traceback" not in second.stderr
    sender, reports = Sender(first, MESSAGES), Reports()
    reports.all_told(first, sender.all_accepted())
    assert sum(event.word == "bound" for event in two.log()) == 1
    assert stop(process) == 0


@pytest.mark.fault(41)
def test_fault_41_one_data_directory(site: Site) -> None:
    """They share the store there, with epochs of their own: one sends, the other stands by and follows."""
    two = Two(site)
    (first, process), (second, other) = two.start("a", "run"), two.start("b", "run")
    pid = site.server_pid()
    assert pid, "one embedded server"
    senders = [Sender(first, MESSAGES), Sender(second, MESSAGES, MESSAGES)]
    reports = Reports()
    ids = [message_id for sender in senders for message_id in sender.all_accepted()]
    assert len(set(ids)) == 2 * MESSAGES, "no message of one has the id of one of the other"
    epochs = {message_id.split(".")[1].split("-")[0] for message_id in ids}
    assert len(epochs) == 2
    assert (first.carrier()["bound"], second.carrier()["bound"]) == (1, 0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reports.all_told(second, ids)
    assert site.server_pid() == pid
    until(lambda: second.carrier()["bound"] == 1, site.errors)
    assert not any(event.word == "refused" for event in two.log())
    until(lambda: len(site.parts()) == 2 * MESSAGES, lambda: len(site.parts()))
    assert sum(site.parts().values()) - 2 * MESSAGES <= 2 * WINDOW
    assert stop(other) == 0
    until(lambda: not os.path.exists(f"/proc/{pid}"), lambda: "the server stays behind")


@pytest.mark.fault(41)
def test_fault_41_one_account_in_two_data_directories(site: Site, cleanup: ExitStack) -> None:
    """They cannot know of one another; the SMSC refuses the second, which asks slowly, says so, keeps what it
    accepted, and sends it when the first is gone.
    """
    cleanup.callback(lambda: kill(pid_in(site.directory / "other")))
    two = Two(site)
    first, process = two.start("a", "run")
    until(lambda: first.carrier()["bound"] == 1, site.errors)
    second, other = two.start("b", "other")
    mine, waits = Sender(first, MESSAGES), Sender(second, MESSAGES, MESSAGES)
    waits.all_accepted()
    reports = Reports()
    reports.all_told(first, mine.all_accepted())
    until(lambda: len(site.parts()) == MESSAGES, lambda: f"{len(site.parts())} sent, by one bind")
    assert set(site.parts().values()) == {1}
    until(lambda: second.carrier()["last_error"], site.errors)
    assert second.carrier()["queued"]["normal"] == MESSAGES
    refused = [event.time for event in two.log() if event.word == "refused"]
    for earlier, later in itertools.pairwise(refused):
        assert later - earlier >= 0.9, "it hammers"
    assert stop(process) == 0
    told = Reports()
    told.all_told(second, waits.all_accepted())
    until(lambda: len(site.parts()) == 2 * MESSAGES, lambda: len(site.parts()))
    assert set(site.parts().values()) == {1}
    assert stop(other) == 0
