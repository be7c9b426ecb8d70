#!/usr/bin/env bash
# Find out what is wrong with an installation, and say what to do about it. Changes nothing.
#
# usage: health_check.sh [options]
#   -n, --namespace NAME          (default: snn-fusion, or SNN_FUSION_NAMESPACE)
#   --release NAME                (default: snn-fusion, or SNN_FUSION_RELEASE)
#   --dry-run                     show what would be looked at
#   -h, --help
# Exit codes: 0 all is well, 1 there are problems, 2 the cluster or the installation is not there.

. "$(dirname "$0")/lib.sh"

OURS=app.kubernetes.io/instance

# check_deployment NAME: as many pods available as wanted?
check_deployment() {
  local wanted ready
  wanted=$(kube get deployment "$1" -o jsonpath='{.spec.replicas}')
  ready=$(kube get deployment "$1" -o jsonpath='{.status.availableReplicas}')
  if [ "${ready:-0}" -lt "$wanted" ]; then
    problem "$1: ${ready:-0} of $wanted pods are available" "see the pods below"
  else
    say "ok: $1, $ready of $wanted pods"
  fi
}

# check_pod NAME: why does it not run? It may be gone by now.
check_pod() {
  local phase unscheduled waiting restarts ended
  if lost_node "$1" || leaves "$1"; then
    return
  fi
  phase=$(kube get pod "$1" --ignore-not-found -o jsonpath='{.status.phase}')
  unscheduled=$(kube get pod "$1" --ignore-not-found -o jsonpath='{.status.conditions[?(@.reason=="Unschedulable")].message}')
  waiting=$(kube get pod "$1" --ignore-not-found -o jsonpath='{.status.containerStatuses[*].state.waiting.reason}')
  restarts=$(kube get pod "$1" --ignore-not-found -o jsonpath='{.status.containerStatuses[0].restartCount}')
  ended=$(kube get pod "$1" --ignore-not-found -o jsonpath='{.status.containerStatuses[0].lastState.terminated.reason}')
  if [ -n "$unscheduled" ]; then
    problem "$1 finds no node: $unscheduled" "$(advice "$unscheduled")"
  fi
  case $waiting in
    *ErrImage* | *ImagePull* | *InvalidImage*) problem "$1: its image cannot be pulled" "push it, or name another one: deploy.sh --image REPOSITORY:TAG" ;;
    *CreateContainerConfigError*) problem "$1: a Secret or ConfigMap is missing" "kubectl describe pod $1 -n $NAMESPACE names it" ;;
    *CrashLoopBackOff*) problem "$1 ends again and again" "kubectl logs $1 -n $NAMESPACE --previous; a wrong setting is named there" ;;
  esac
  if [ "$ended" = OOMKilled ]; then
    problem "$1 was killed for want of memory" "raise its resources.limits.memory"
  elif [ "${restarts:-0}" -gt 3 ]; then
    problem "$1 restarted $restarts times" "kubectl logs $1 -n $NAMESPACE --previous"
  fi
  if [ "$phase" = Running ] && [ "$(kube get pod "$1" --ignore-not-found -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}')" != True ]; then
    problem "$1 runs but is not ready" "kubectl logs $1 -n $NAMESPACE; its own reason: $(reason "$1")"
  fi
}

# leaves POD: is it to end, because it was replaced or deleted?
leaves() { [ -n "$(kube get pod "$1" --ignore-not-found -o jsonpath='{.metadata.deletionTimestamp}')" ]; }

# lost_node POD: does its node not answer any more? Then nothing else can be said of it.
lost_node() {
  local node ready
  node=$(kube get pod "$1" --ignore-not-found -o jsonpath='{.spec.nodeName}')
  [ -n "$node" ] || return 1
  # Who may not read nodes is told the rest.
  ready=$(kubectl get node "$node" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null || true)
  case $ready in
    Unknown) problem "$1: its node $node does not answer" "bring the node back, or if it is gone for good: kubectl delete node $node" ;;
    *) return 1 ;;
  esac
}

advice() {
  case $1 in
    *"Insufficient cpu"* | *"Insufficient memory"*) say "make room, or use --values k8s/chart/values-lab.yaml" ;;
    *"node affinity"* | *"node selector"* | *taint* | *Insufficient*) say "label, taint and count the boards of a node: docs/lab-operator.md" ;;
    *PersistentVolumeClaim*) say "see the claims below" ;;
    *) say "kubectl describe pod tells more" ;;
  esac
}

# reason POD: what its readiness probe says.
reason() {
  kube exec "$1" -- python -c '
import os, urllib.error, urllib.request
url = "http://127.0.0.1:" + os.environ.get("SNN_FUSION_PORT", "8080") + "/healthz/ready"
try:
    print(urllib.request.urlopen(url, timeout=3).read().decode())
except urllib.error.HTTPError as error:
    print(error.read().decode())
except OSError as error:
    print(error)
' 2>/dev/null || say "it cannot be asked"
}

check_service() {
  if [ -z "$(kube get endpoints "$1" -o jsonpath='{.subsets[*].addresses[*].ip}')" ]; then
    problem "the Service $1 leads to no pod that is ready" "see its pods above"
  fi
}

check_claim() {
  local phase
  phase=$(kube get persistentvolumeclaim "$1" -o jsonpath='{.status.phase}')
  if [ "$phase" != Bound ]; then
    problem "the claim $1 is $phase" "give the cluster a StorageClass for it, or name one in the values"
  fi
}

check_scaler() {
  local active
  active=$(kube get horizontalpodautoscalers.v2.autoscaling "$1" -o jsonpath='{.status.conditions[?(@.type=="ScalingActive")].status}' 2>/dev/null || true)
  if [ "$active" = False ]; then
    problem "the autoscaler $1 cannot see the CPU in use" "install metrics-server, or set front.autoscaling.enabled=false"
  fi
}

# names KIND: those of the release.
names() {
  kube get "$1" -l "$OURS=$RELEASE" -o jsonpath='{range .items[*]}{.metadata.name}{"\n"}{end}'
}

while [ $# -gt 0 ]; do
  common_option "$@"
  [ "$SHIFT" -gt 0 ] || die "unknown option $1" "see health_check.sh --help"
  shift "$SHIFT"
done
if [ -n "$DRY_RUN" ]; then
  say "would look at the deployments, pods, Services, claims and autoscalers of $RELEASE in $NAMESPACE"
  exit 0
fi

need_cluster
need_namespace
exists deployment "$RELEASE-api" ||
  die "there is no deployment $RELEASE-api in $NAMESPACE" "run deploy.sh, or name the release with --release"
for name in $(names deployments); do check_deployment "$name"; done
for name in $(names pods); do check_pod "$name"; done
for name in $(names services); do check_service "$name"; done
for name in $(names persistentvolumeclaims); do check_claim "$name"; done
for name in $(names horizontalpodautoscalers.v1.autoscaling); do check_scaler "$name"; done
finish "all is well"
