#!/usr/bin/env bash
# Make the passwords and keys of compose.yaml, once; what is there already is kept.
#
# usage: setup.sh [--help]
# They lie in .env and secrets/ beside this script. Prints the key for callers and Grafana's password.
set -euo pipefail
case ${1:-} in
  -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit ;;
  '') ;;
  *) printf 'error: unknown option %s\n' "$1" >&2 && exit 2 ;;
esac
cd "$(dirname "$0")"
umask 077
mkdir -p secrets

# keep FILE COMMAND...: what a command prints, unless the file is there. Containers of other users
# read the files; the folder they lie in is the owner's alone.
keep() {
  local file=$1
  shift
  [ -s "$file" ] || "$@" >"$file"
  chmod 644 "$file"
}

random() { head -c 36 /dev/urandom | base64 | tr -d '+/=\n'; }
new_key() { printf 'snf_%s_%s' "$1" "$(random)"; }
hash_of() { sha256sum <"$1" | cut -d' ' -f1; }

keys_file() {
  printf 'keys:\n'
  printf '  - {id: first, name: made by setup.sh, hash: "sha256:%s",\n' "$(hash_of secrets/first-key)"
  printf '     scopes: [fuse, compare, check, "models:read", "models:write", "targets:read", repository, metrics, hardware]}\n'
  printf '  - {id: metrics, name: Prometheus, hash: "sha256:%s", scopes: [metrics]}\n' "$(hash_of secrets/metrics-key)"
}

users() {
  printf 'user default off\n'
  printf 'user snn-fusion on >%s ~snn-fusion:* &snn-fusion:* +@all -@admin -@dangerous\n' "$(cat secrets/redis-password)"
  printf 'user operator on >%s ~* &* +@all\n' "$(cat secrets/redis-operator-password)"
}

for password in redis-password redis-operator-password grafana-password; do
  keep "secrets/$password" random
done
keep secrets/first-key new_key first
keep secrets/metrics-key new_key metrics
keep secrets/keys.yaml keys_file
keep secrets/users.acl users
keep secrets/snn_fusion_redis_url printf 'redis://snn-fusion:%s@redis:6379/0' "$(cat secrets/redis-password)"
printf 'REDIS_OPERATOR_PASSWORD=%s\n' "$(cat secrets/redis-operator-password)" >.env

printf 'key for callers: %s\n' "$(cat secrets/first-key)"
printf 'Grafana, http://127.0.0.1:3000: admin, %s\n' "$(cat secrets/grafana-password)"
printf 'next: docker compose -f %s/compose.yaml up -d\n' "$PWD"
