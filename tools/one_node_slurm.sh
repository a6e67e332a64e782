#!/usr/bin/env bash
# A Slurm of one node on this machine, to test the engine `slurm` on: munge, slurmctld and slurmd from Debian's packages, without accounting.
# Needs root, as in a container; changes nothing on a machine where sbatch already answers. Start it again after a restart.
#   tools/one_node_slurm.sh        installs what is missing, starts what does not run, says so
#   tools/one_node_slurm.sh stop   stops it
set -euo pipefail
folder=/var/lib/sslbench-slurm
export SLURM_CONF=/etc/slurm/slurm.conf

if [ "${1:-start}" = stop ]; then
  scontrol shutdown
  exit
fi
if command -v sinfo >/dev/null && timeout 10 sinfo -h >/dev/null 2>&1; then
  echo "a Slurm answers already: $(sinfo -h -o '%R %D node(s) %T' | head -1)"
  exit
fi
if [ -s "$SLURM_CONF" ] && ! grep -q "StateSaveLocation=$folder/" "$SLURM_CONF"; then
  echo "$SLURM_CONF is of another Slurm, which does not answer; nothing was changed" >&2
  exit 1
fi
if ! command -v slurmctld >/dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge
fi

install -d -m 755 "$folder" "$folder/controller" "$folder/node" /etc/slurm
install -d -o munge -g munge -m 755 /run/munge
[ -s /etc/munge/munge.key ] || { dd if=/dev/urandom of=/etc/munge/munge.key bs=1024 count=1 status=none; }
chown munge: /etc/munge/munge.key && chmod 400 /etc/munge/munge.key
munge -n >/dev/null 2>&1 || runuser -u munge -- /usr/sbin/munged

cores=$(nproc)
memory=$(awk '/MemTotal/ { print int($2 / 1024 * 0.9) }' /proc/meminfo)
# More cores than there are: the tests want several jobs at a time, whatever the machine.
cat >"$SLURM_CONF" <<END
ClusterName=one
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
GresTypes=gpu
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,batch_sched_delay=0,defer_batch=0
ReturnToService=2
KillWait=5
MpiDefault=none
StateSaveLocation=$folder/controller
SlurmdSpoolDir=$folder/node
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmdParameters=config_overrides
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$((cores > 4 ? cores : 4)) RealMemory=$memory Gres=gpu:none:2 State=UNKNOWN
PartitionName=tests Nodes=ALL Default=YES MaxTime=60 DefMemPerCPU=256 State=UP
END
# GPUs in name alone, to see them asked for.
printf "Name=gpu Type=none File=%s\n" /dev/null /dev/zero >"${SLURM_CONF%/*}/gres.conf"
slurmctld -c  # whatever an earlier one knew
slurmd
for _ in $(seq 6); do
  timeout 10 srun --immediate=3 true 2>/dev/null && { sinfo; exit; }
  sleep 0.2
done
echo "Slurm was started and runs nothing; its logs:" >&2
tail -n 20 "$folder"/*.log >&2
exit 1
