"""Submit `lineage run` to a Ray cluster, once: the same overrides are the same job.

    python jobs/submit.py --address http://HEAD:8265 experiment.lineages=64 engine.replicas=4
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import socket
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

from lineage import compose
from lineage.core.errors import LineageError
from lineage.models.cluster import refused
from lineage.runs.plan import prepare

PORTS = {"http": 80, "https": 443}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of conf/")
    parser.add_argument("--address", required=True, help="of the cluster's dashboard")
    options = parser.parse_args(arguments)
    try:
        print(submit(options.address, options.overrides))
    except LineageError as error:
        sys.exit(f"submit: {error}")


def submit(address: str, overrides: Sequence[str]) -> str:
    """Submit the job, unless it is there already; return a line that says so.

    Raises LineageError where the configuration is wrong, before the cluster hears of it, and
    where the cluster cannot be reached or refuses.
    """
    mark = hashlib.sha256("\0".join(sorted(overrides)).encode()).hexdigest()[:8]
    job = f"lineage-{mark}"
    # The run's folder has the job's name, so that a job submitted again resumes its run.
    words = [*overrides, f"run.name=job-{mark}", "run.ray_address=auto"]
    config = compose.load(words)
    prepare(config)
    check_reached(address, config.run.ray_timeout_s)
    from ray.job_submission import JobStatus, JobSubmissionClient

    try:
        client = JobSubmissionClient(address)
        known = {found.submission_id: found.status for found in client.list_jobs()}
        if job in known and known[job] not in (JobStatus.FAILED, JobStatus.STOPPED):
            return f"{job} is there already: {known[job]}"
        if job in known:
            client.delete_job(job)
        client.submit_job(entrypoint=f"lineage {shlex.join(['run', *words])}", submission_id=job)
    except Exception as error:  # Ray's own, requests' and bare ones
        raise refused(address, str(error), "--address") from error
    return f"{job} submitted; follow it with: ray job logs {job} --follow"


def check_reached(address: str, timeout_s: float) -> None:
    """Raise LineageError where nothing takes a connection at `address` within `timeout_s`."""
    try:
        found = urlsplit(address if "://" in address else f"http://{address}")
        place = found.hostname or "", found.port or PORTS.get(found.scheme, PORTS["http"])
        socket.create_connection(place, timeout_s).close()
    except (OSError, ValueError) as error:
        raise LineageError(
            f"no Ray dashboard at {address!r} ({error}): check --address, or raise "
            f"run.ray_timeout_s (now {timeout_s:g})"
        ) from error


if __name__ == "__main__":
    main()
