#!/usr/bin/env bash
# Writes locks/ anew: every release that an install has, with its hashes, for Python 3.11 on Linux
# and x86-64. `make lock` runs this.
#   jobs/lock.sh             keeps the releases that pyproject.toml still allows
#   jobs/lock.sh --upgrade   takes the newest
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."

# Writes the lock $1, by the arguments for uv that follow.
compile() {
    local name=$1
    shift
    .venv/bin/uv pip compile pyproject.toml "$@" --output-file "locks/$name.txt" --quiet \
        --python-version 3.11 --python-platform x86_64-unknown-linux-gnu \
        --generate-hashes --no-annotate --custom-compile-command "make lock"
}

compile plain "$@"
compile gpu --extra gpu "$@"

# The CPU build of torch is where jobs/setup.sh finds it; the others are what that removes.
without=()
for one in torch torchvision torchaudio torchcodec; do without+=(--no-emit-package "$one"); done
index=$(jobs/setup.sh --torch)
if [[ $index != default ]]; then without+=(--index "$index" --index-strategy unsafe-best-match); fi
export UV_FIND_LINKS=${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}
compile cpu --extra cpu --extra dev "${without[@]}" "$@"
