# Stays beside a stack for as long as its owner lives and ends what the owner
# started once the owner is gone, however it went: the owner holds the other end
# of our standard input, and the kernel closes that even after a kill -9.
#
# Each line on standard input replaces the list of what to end: SIGNAL:PID words.
# $1 is the mark that the owner's descendants carry in their environment; where
# there is a /proc it finds those that no list names.

trap '' HUP INT TERM

list=
while read -r line; do
	list=$line
done
[ "$list" = stopped ] && exit 0

marked() {
	grep -lzsxF "DEVSTACK_RUN=$1" /proc/[0-9]*/environ | cut -d/ -f3
}

for entry in $list; do
	kill -s "${entry%%:*}" "${entry#*:}"
	kill -s CONT "${entry#*:}"
done 2>/dev/null

# PostgreSQL needs a moment to end its backends; it kills them itself after 5 s.
tries=0
while [ $tries -lt 60 ]; do
	left=
	for entry in $list; do
		kill -0 "${entry#*:}" 2>/dev/null && left="$left ${entry#*:}"
	done
	[ -z "$left" ] && break
	sleep 0.1
	tries=$((tries + 1))
done

for pid in $left $(marked "$1"); do
	kill -s KILL "$pid" 2>/dev/null
done
