#!/usr/bin/env bash
# A Slurm cluster of one node on this machine, on the loopback address, for tests and to try packs out.
#   scripts/dev/slurm.sh start [FOLDER]   prints what to export; FOLDER is /tmp/adapterlab-slurm by default
#   scripts/dev/slurm.sh stop [FOLDER]
# It needs root, and Debian's packages: apt-get install --no-install-recommends slurm-wlm munge
# Without cgroups: nothing keeps jobs to their memory and cores, so tasks set their threads themselves.
set -euo pipefail

base=${2:-/tmp/adapterlab-slurm}
conf=$base/slurm.conf
path=$PATH:/usr/sbin:/sbin

ended() { # waits until the process of a pid file is gone, then takes the next step
  local file=$base/run/$1.pid pid
  pid=$(cat "$file" 2>/dev/null) || return 0
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || return 0; sleep 0.1; done
  kill -9 "$pid" 2>/dev/null || true
}

free() { # whether nobody listens on a port
  ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

stop() {
  if [ -e "$conf" ]; then
    SLURM_CONF=$conf timeout 10 scancel --user "$(id -un)" 2>/dev/null || true
  fi
  for daemon in slurmd slurmctld munged; do ended $daemon; done
}

start() {
  local host port
  host=$(hostname -s)
  # Below the ports that the system gives away (32768 and more): one of those may be taken at any moment.
  for _ in $(seq 50); do
    port=$((20000 + RANDOM % 12000))
    if free "$port" && free $((port + 1)); then break; fi
  done
  export PATH=$path
  for command in munged slurmctld slurmd; do
    command -v $command >/dev/null || { echo "error: there is no $command; see $0" >&2; exit 1; }
  done
  rm -rf "$base"
  # munged refuses a socket that not all can reach, and a key that others can.
  install -d -m 755 "$base" "$base/run" "$base/log" "$base/state" "$base/spool"
  install -d -m 700 "$base/munge"
  head -c 128 /dev/urandom > "$base/munge/munge.key"
  chmod 600 "$base/munge/munge.key"
  cat > "$conf" <<END
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket=$base/run/munge.sock
SlurmctldPort=$port
SlurmdPort=$((port + 1))
StateSaveLocation=$base/state
SlurmdSpoolDir=$base/spool
SlurmctldPidFile=$base/run/slurmctld.pid
SlurmdPidFile=$base/run/slurmd.pid
SlurmctldLogFile=$base/log/slurmctld.log
SlurmdLogFile=$base/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=10
MpiDefault=none
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SchedulerParameters=sched_min_interval=0,batch_sched_delay=1
NodeName=$host NodeAddr=127.0.0.1 Sockets=1 CoresPerSocket=$(nproc --all) ThreadsPerCore=1 RealMemory=${SLURM_NODE_MIB:-4000} State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
  export SLURM_CONF=$conf
  munged --key-file="$base/munge/munge.key" --socket="$base/run/munge.sock" \
    --pid-file="$base/run/munged.pid" --log-file="$base/log/munged.log" --seed-file="$base/run/munge.seed"
  slurmctld -f "$conf"
  slurmd -f "$conf"
  SECONDS=0
  while [ $SECONDS -lt 60 ]; do
    if timeout 5 sinfo --noheader --format=%T 2>/dev/null | grep -q idle; then # it asks for long
      echo "export SLURM_CONF=$conf"
      return
    fi
    sleep 0.2
  done
  echo "error: the node is not idle after 60 s:" >&2
  tail --lines=3 "$base"/log/*.log >&2 || true
  stop
  exit 1
}

case ${1:-} in
  start) start ;;
  stop) stop ;;
  *) echo "usage: $0 start|stop [FOLDER]" >&2; exit 2 ;;
esac
