#!/bin/bash
# Runs a registry of three nodes on this machine, over PostgreSQL and versitygw,
# behind haproxy at 127.0.0.1:5000, until it is interrupted. What it keeps is in
# .cache/cluster; remove that to begin anew. "make cluster" installs what it needs.
# With "check" it ends as soon as the registry has answered.
set -eu
cd "$(dirname "$0")/../.."
root=$PWD
data=$root/.cache/cluster
PATH=$root/.cache/bin:$(ls -d /usr/lib/postgresql/*/bin | tail -n 1):/usr/sbin:$PATH
export PATH

database=127.0.0.1:5432
store=127.0.0.1:7070
node1=127.0.0.1:5001
node2=127.0.0.1:5002
node3=127.0.0.1:5003
door=127.0.0.1:5000

mkdir -p "$data/store" "$data/attributes" "$data/node1" "$data/node2" "$data/node3"
chmod 755 "$data"

# secret prints that of a name, which is made when it is first asked for.
secret() {
	if [ ! -s "$data/$1.secret" ]; then
		(umask 077 && od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$data/$1.secret")
	fi
	cat "$data/$1.secret"
}

# PostgreSQL does not run as root.
as_postgres=()
if [ "$(id -u)" = 0 ]; then
	as_postgres=(setpriv --reuid postgres --regid postgres --clear-groups)
fi

# await waits until something listens.
await() {
	for _ in $(seq 300); do
		if (exec 3<>"/dev/tcp/${1%:*}/${1#*:}") 2>/dev/null; then
			return
		fi
		sleep 0.1
	done
	echo "nothing answers on $1: see $data/*.log" >&2
	exit 1
}

behind=
nodes=
# run starts a program in the background, with a log of its own.
run() {
	local name=$1
	shift
	"$@" >>"$data/$name.log" 2>&1 &
}

# finish ends what was started: the nodes before what they need.
finish() {
	trap - EXIT INT TERM
	for pids in "$nodes" "$behind"; do
		for pid in $pids; do kill "$pid" 2>/dev/null || true; done
		for pid in $pids; do wait "$pid" 2>/dev/null || true; done
	done
}
trap finish EXIT
trap 'exit 0' INT TERM

make -s build

if [ ! -d "$data/postgres" ]; then
	mkdir "$data/postgres"
	if [ "$(id -u)" = 0 ]; then chown postgres "$data/postgres"; fi
	(umask 022 && secret postgres >"$data/postgres.pw")
	"${as_postgres[@]}" initdb -D "$data/postgres" -U berth --pwfile="$data/postgres.pw" -A scram-sha-256 -E UTF8 --locale=C.UTF-8 >"$data/postgres.log"
	rm "$data/postgres.pw"
fi
run postgres "${as_postgres[@]}" postgres -D "$data/postgres" -p "${database#*:}" -c listen_addresses="${database%:*}" -c unix_socket_directories=
behind=$!
await "$database"
export PGPASSWORD="$(secret postgres)"
for _ in $(seq 50); do
	if psql -q -h "${database%:*}" -p "${database#*:}" -U berth -d postgres -c "SELECT 1" >/dev/null 2>&1; then break; fi
	sleep 0.2
done
psql -q -h "${database%:*}" -p "${database#*:}" -U berth -d postgres -tc "SELECT 1 FROM pg_database WHERE datname = 'berth'" | grep -q 1 ||
	psql -q -h "${database%:*}" -p "${database#*:}" -U berth -d postgres -c "CREATE DATABASE berth"

ROOT_ACCESS_KEY=berth ROOT_SECRET_KEY=$(secret store)
export ROOT_ACCESS_KEY ROOT_SECRET_KEY
mkdir -p "$data/store/berth"
run store versitygw --port "$store" --quiet posix --sidecar "$data/attributes" "$data/store"
behind="$behind $!"
await "$store"

export REGISTRY_METADATA_POSTGRES_URL="postgres://berth:$PGPASSWORD@$database/berth?sslmode=disable"
export REGISTRY_STORAGE_S3_REGIONENDPOINT="http://$store"
export REGISTRY_STORAGE_S3_ACCESSKEY="$ROOT_ACCESS_KEY" REGISTRY_STORAGE_S3_SECRETKEY="$ROOT_SECRET_KEY"
secret admin >/dev/null
export BERTH_ADMIN_PASSWORD_FILE="$data/admin.secret"
for node in node1 node2 node3; do
	eval addr=\$$node
	REGISTRY_HTTP_ADDR=$addr BERTH_DATA=$data/$node
	export REGISTRY_HTTP_ADDR BERTH_DATA
	run "$node" bin/berth serve deploy/cluster/config.yml
	nodes="$nodes $!"
done
for addr in $node1 $node2 $node3; do await "$addr"; done

CLUSTER_ADDR=$door CLUSTER_NODE1=$node1 CLUSTER_NODE2=$node2 CLUSTER_NODE3=$node3
export CLUSTER_ADDR CLUSTER_NODE1 CLUSTER_NODE2 CLUSTER_NODE3
run haproxy haproxy -W -db -f deploy/cluster/haproxy.cfg
nodes="$nodes $!"
await "$door"

cat <<END
The registry answers at $door. Log in as admin:
  docker login $door -u admin --password-stdin <$data/admin.secret
Its nodes are $node1, $node2 and $node3; logs are in $data. End it with Ctrl-C.
END
if [ "${1:-}" = check ]; then
	exec 3<>"/dev/tcp/${door%:*}/${door#*:}"
	printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3
	grep -q '^{"status":"ok"}' <&3
	exit
fi
wait
