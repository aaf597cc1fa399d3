"""Submit `lineage run` to a Ray cluster, once: the same overrides are the same job.

    python jobs/submit.py --address http://HEAD:8265 experiment.lineages=64 engine.replicas=4
"""

from __future__ import annotations

import argparse
import hashlib
import shlex

from ray.job_submission import JobStatus, JobSubmissionClient


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of conf/")
    parser.add_argument("--address", required=True, help="of the cluster's dashboard")
    options = parser.parse_args()
    mark = hashlib.sha256("\0".join(sorted(options.overrides)).encode()).hexdigest()[:8]
    job, name = f"lineage-{mark}", f"job-{mark}"
    client = JobSubmissionClient(options.address)
    known = {found.submission_id: found.status for found in client.list_jobs()}
    if job in known and known[job] not in (JobStatus.FAILED, JobStatus.STOPPED):
        print(f"{job} is there already: {known[job]}")
        return
    if job in known:
        client.delete_job(job)
    # The run's folder has the job's name, so that a job submitted again resumes its run.
    words = ["run", *options.overrides, f"run.name={name}", "run.ray_address=auto"]
    client.submit_job(entrypoint=f"lineage {shlex.join(words)}", submission_id=job)
    print(f"{job} submitted; follow it with: ray job logs {job} --follow")


if __name__ == "__main__":
    main()
