#!/usr/bin/env bash
# `make quickstart`: a server with the user test/test and the example pipeline, until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/.."
pinion=build/release/pinion
state=${STATE_DIR:-build/quickstart}
url=http://127.0.0.1:${BIND_PORT:-8080}
sudo=""
[ "$(id -u)" = 0 ] || sudo="sudo --preserve-env=PATH"

$sudo "$pinion" quickstart --state-dir "$state" --bind-port "${BIND_PORT:-8080}" --add-local-user test:test \
  --main-team-local-user test >build/quickstart.log 2>&1 &
server=$!
trap 'kill $server 2>/dev/null; wait $server 2>/dev/null || true' EXIT
for _ in $(seq 100); do
  curl -fs -o /dev/null "$url/api/v1/info" && break
  kill -0 $server 2>/dev/null || { cat build/quickstart.log; exit 1; }
  read -rt 0.1 <> <(:) || true
done
fly="build/release/fly -t pinion"
$fly login -c "$url" -u test -p test >/dev/null
$fly set-pipeline -n -p hello -c examples/hello.yml >/dev/null
$fly unpause-pipeline -p hello >/dev/null
cat <<T
Pinion is running: $url  (user test, password test; log in build/quickstart.log; Ctrl-C ends it)
Next:
  $fly trigger-job -j hello/hello --watch
  $fly builds
  $fly workers
T
wait $server
