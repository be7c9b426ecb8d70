# shellcheck shell=bash
# What the scripts share; sourced, not run.
set -euo pipefail

NAMESPACE=${SNN_FUSION_NAMESPACE:-snn-fusion}
RELEASE=${SNN_FUSION_RELEASE:-snn-fusion}
DRY_RUN=
SCRIPTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034 # used by those who source this
CHART=$(cd "$SCRIPTS/../chart" && pwd)
PROBLEMS=0

say() { printf '%s\n' "$*"; }

# problem WHAT DO: something is wrong; the script goes on and ends with 1.
problem() {
  PROBLEMS=$((PROBLEMS + 1))
  printf 'PROBLEM: %s\n   what to do: %s\n' "$1" "$2" >&2
}

# die WHAT [DO]: it cannot go on.
die() {
  printf 'error: %s\n' "$1" >&2
  [ -z "${2:-}" ] || printf '   what to do: %s\n' "$2" >&2
  exit 2
}

# run COMMAND...: show a command that changes something, and run it unless --dry-run.
run() {
  local shown=$*
  printf '+ %s\n' "${shown/#kube /kubectl --namespace $NAMESPACE }"
  [ -n "$DRY_RUN" ] || "$@"
}

usage() {
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
  exit "${1:-0}"
}

# common_option ARGUMENT VALUE: take an option that every script knows; tells in SHIFT how many
# words that were, 0 if it is another one.
common_option() {
  # shellcheck disable=SC2034 # those who source this look at it
  SHIFT=1
  case $1 in
    -h | --help) usage ;;
    --dry-run) DRY_RUN=yes ;;
    -n | --namespace) NAMESPACE=$(value "$@") SHIFT=2 ;;
    --release) RELEASE=$(value "$@") SHIFT=2 ;;
    *)
      # shellcheck disable=SC2034
      SHIFT=0
      ;;
  esac
}

# value OPTION [VALUE]: print the option's value.
value() {
  [ $# -ge 2 ] && [ -n "$2" ] || die "$1 wants a value" "see $(basename "$0") --help"
  printf '%s' "$2"
}

need() {
  local tool
  for tool in "$@"; do
    command -v "$tool" >/dev/null || die "$tool is not installed" "install it, or run: make k8s-tools; PATH=\$PWD/.venv-k8s/bin:\$PATH"
  done
}

kube() { kubectl --namespace "$NAMESPACE" "$@"; }

need_cluster() {
  local told
  need kubectl
  told=$(kubectl get --raw /version 2>&1) ||
    die "the cluster cannot be reached: $(tail -n 1 <<<"$told")" "point KUBECONFIG at it, and try: kubectl version"
}

need_namespace() {
  kubectl get namespace "$NAMESPACE" >/dev/null 2>&1 ||
    die "there is no namespace $NAMESPACE" "run deploy.sh first, or name the right one with --namespace"
}

exists() { kube get "$1" "$2" >/dev/null 2>&1; }

# deployments: names of those of the release, the front first.
deployments() {
  kube get deployments -l "app.kubernetes.io/instance=$RELEASE" --sort-by=.metadata.creationTimestamp \
    -o jsonpath='{range .items[*]}{.metadata.name}{"\n"}{end}'
}

# redis COMMAND...: talk to the bundled Redis as its operator.
redis() { kube exec -i "$RELEASE-redis-0" -- redis-cli --user operator --no-auth-warning "$@"; }

# finish TEXT: end, with 1 if there were problems.
finish() {
  if [ "$PROBLEMS" -gt 0 ]; then
    printf '%s problem(s)\n' "$PROBLEMS" >&2
    exit 1
  fi
  say "${DRY_RUN:+nothing was changed; without --dry-run: }$1"
}
