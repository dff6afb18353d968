#!/bin/sh
# Installs what the tests need and the machine lacks: container clients, servers
# and a browser from Debian, Go tools into .cache/bin and npm packages into
# .cache/node at the versions below. What
# is there already is left alone, so a second run costs nothing. With "bench" or
# "campaign" it installs what only these need.
set -eu
cd "$(dirname "$0")/.."

packages="apache2-utils buildah ca-certificates chromium containerd crun docker.io gcc git haproxy iproute2 krb5-config ldb-tools libc6-dev podman postgresql python3-samba runc
samba samba-ad-provision samba-dsdb-modules samba-vfs-modules skopeo slapd util-linux winbind"

# Programs of packages that are not installed, because they would bring a
# configuration to where berth looks for one.
unpacked="docker-registry"

tools="
github.com/distribution/distribution/v3/cmd/registry@v3.1.2
github.com/fsouza/fake-gcs-server@v1.56.1
github.com/google/go-containerregistry/cmd/crane@v0.22.1
github.com/regclient/regclient/cmd/regctl@v0.11.7
oras.land/oras/cmd/oras@v1.3.6
helm.sh/helm/v3/cmd/helm@v3.22.0
github.com/versity/versitygw/cmd/versitygw@v1.8.0
github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111
golang.org/x/vuln/cmd/govulncheck@v1.9.0
honnef.co/go/tools/cmd/staticcheck@v0.8.2
"

modules="oidc-provider@9.13.3 azurite@3.35.0"

case ${1:-} in
"") ;;
bench)
	packages="nginx slapd wrk"
	unpacked=
	tools=
	modules=
	;;
campaign)
	packages="e2fsprogs strace util-linux"
	unpacked=
	tools=
	modules=
	;;
*)
	echo "test/deps.sh: there is no list $1" >&2
	exit 2
	;;
esac

# Packages that bring a daemon start it when they are installed. The tests start
# their own, so a policy that says no stands in for as long as apt runs.
policy=/usr/sbin/policy-rc.d
made_policy=

cleanup() {
	if [ -n "$made_policy" ]; then
		rm -f "$policy"
	fi
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

debian() {
	missing=
	for p in $packages; do
		status=$(dpkg-query -W -f '${Status}' "$p" 2>/dev/null || true)
		if [ "$status" != "install ok installed" ]; then
			missing="$missing $p"
		fi
	done
	if [ -z "$missing" ]; then
		return
	fi
	echo "deps: installing$missing"
	trap cleanup EXIT
	trap 'exit 1' HUP INT TERM
	if [ "$(id -u)" = 0 ] && [ ! -e "$policy" ]; then
		made_policy=yes
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	export DEBIAN_FRONTEND=noninteractive
	# A list that is missing or old names files that are gone: refresh and retry.
	# shellcheck disable=SC2086
	as_root apt-get install -qq -y --no-install-recommends $missing >/dev/null 2>&1 || {
		as_root apt-get update -qq
		as_root apt-get install -qq -y --no-install-recommends $missing >/dev/null
	}
	cleanup
	made_policy=
}

# unpack puts the programs of packages into .cache/bin.
unpack() {
	bin=$PWD/.cache/bin
	mkdir -p "$bin"
	for p in $unpacked; do
		if [ -x "$bin/$p" ]; then
			continue
		fi
		echo "deps: unpacking $p"
		dir=$(mktemp -d)
		(cd "$dir" && chmod 755 . && { apt-get download -qq "$p" || { as_root apt-get update -qq && apt-get download -qq "$p"; }; } 2>/dev/null)
		dpkg-deb -x "$dir/$p"_*.deb "$dir/files"
		cp "$dir/files/usr/bin/$p" "$bin/$p"
		rm -r "$dir"
	done
}

golang() {
	bin=$PWD/.cache/bin
	mkdir -p "$bin"
	for t in $tools; do
		path=${t%@*}
		name=${path##*/}
		stamp=$bin/.$name@${t##*@}
		if [ -x "$bin/$name" ] && [ -e "$stamp" ]; then
			continue
		fi
		echo "deps: building $t"
		# Another folder, so that the module here has no say in what is built.
		(cd / && GOBIN=$bin GOFLAGS= CGO_ENABLED=0 go install -trimpath "$t")
		rm -f "$bin/.$name@"*
		: >"$stamp"
	done
}

# npm_modules installs npm packages at their versions, without running their scripts.
npm_modules() {
	for m in $modules; do
		stamp=$PWD/.cache/node/.$m
		if [ -e "$stamp" ]; then
			continue
		fi
		echo "deps: installing $m"
		mkdir -p .cache/node
		npm install --prefix .cache/node --silent --no-audit --no-fund --ignore-scripts --save-exact "$m"
		: >"$stamp"
	done
}

if [ -n "$modules" ] && ! command -v npm >/dev/null; then
	packages="$packages nodejs npm"
fi
if command -v dpkg-query >/dev/null; then
	debian
	unpack
else
	echo "deps: not Debian; install by hand: $packages $unpacked" >&2
fi
golang
npm_modules
