# A federation in containers, typed by an administrator on one host: "found" makes homes in the volumes of the compose
# file, "run" starts it and trains one study, "down" takes all of it away. WORK is an empty folder, through which parties
# hand files to each other. bank-a and bank-b speak over a socket, bank-c's node and custodian over TCP.
set -euo pipefail
COMPOSE=${COMPOSE:-$(dirname "$(realpath "$0")")/../../../containers/compose.yaml}
P=${PROJECT:-fieldfare}
H=/home/institution
HC=/home/coordinator
compose() { podman-compose --project-name "$P" --file "$COMPOSE" "$@"; }
alone() { # a command in a container of its own, shut in like the others, without a network
  podman run --rm --read-only --cap-drop ALL --security-opt no-new-privileges --network none --tmpfs /tmp:mode=1777 \
    --volume "$WORK:/work" --workdir /work "$@"
}
C() { alone --volume "${P}_coordinator:$HC" localhost/fieldfare-coordinator "$@"; }
I() { local bank=$1; shift; alone --volume "${P}_home-$bank:$H" --volume "${P}_records-$bank:/records:ro" localhost/fieldfare-institution "$@"; }
inside() { local name=$1; shift; podman exec "${P}_${name}_1" fieldfare "$@"; } # in one that runs
place() { podman volume inspect --format '{{.Mountpoint}}' "${P}_$1"; }
patient() { local n=0; until "$@"; do sleep 2; n=$((n+1)); [ $n -lt 90 ] || { echo "in vain: $*"; return 1; }; done; }

found() {
  cd "$WORK"; chmod 777 .
  for volume in coordinator {home,node,records}-{a,b,c} socket-{a,b}; do podman volume create "${P}_$volume" > /dev/null; done
  python3 - <<'END'
import random
random.seed(1)
for bank in "abc":
    with open(f"{bank}.csv", "w") as file:
        print("customer,age,amount,fraud", file=file)
        for n in range(3000):
            bad = random.random() < .3
            print(f"{bank}{n},{random.randint(18, 90)},{random.gauss(5 if bad else 3, 1):.3f},{int(bad)}", file=file)
END
  for b in a b c; do install -m 644 $b.csv "$(place records-$b)/records.csv"; done
  I a study new --records /records/records.csv --label fraud --unit customer --epsilon 1 > drafted.toml
  sed -i -e 's/^steps = .*/steps = 4/' drafted.toml
  C coordinator init "Containers" --home $HC --address coordinator:8443 | tee said
  coordinator=$(sed -n 's/^coordinator  //p' said)
  install -m 644 "$(place coordinator)/invitation.json" .
  for b in a b c; do
    I $b institution init --home $H --id bank-$b
    printf '\n[[records]]\npath = "/records/records.csv"\nunit = "customer"\n' >> "$(place home-$b)/institution.toml"
    I $b institution policy drafted.toml --home $H --yes > /dev/null
    I $b institution join invitation.json --home $H --fingerprint "$coordinator" --out $b.enrolment
    chmod a+r $b.enrolment
  done
  C coordinator enrol a.enrolment b.enrolment c.enrolment --home $HC --yes
  C coordinator roster --home $HC --multiplicity 1
  install -m 644 "$(place coordinator)/roster.signed" .
  for b in a b c; do I $b institution roster accept roster.signed --home $H --yes > /dev/null; done
  code() { I $1 institution roster --json --home $H | sed -n 's/.*"roster": "\([0-9 ]*\)".*/\1/p'; }
  A=$(code a); B=$(code b)
  I a institution roster compare bank-b --how meeting --present bank-c --code "$B" --home $H --yes
  I b institution roster compare bank-a --how meeting --present bank-c --code "$A" --home $H --yes
  I c institution roster compare bank-a --how meeting --present bank-b --code "$A" --home $H --yes
  for b in a b c; do node_of $b; done
}

node_of() { # what a node gets: its key, who signed for the SuperLink, and where its custodian is
  local bank=$1 home node; home=$(place home-$bank); node=$(place node-$bank)
  install -d -o 10002 -g 10002 -m 700 "$node" "$node/keys" "$node/run"
  install -o 10002 -g 10002 -m 600 "$home/keys/node" "$node/keys/node"
  install -o 10002 -g 10002 -m 644 "$home/authority.pem" "$home/node.toml" "$node/"
  if [ "$bank" = c ]; then
    sed -i -e '/^socket = /d' -e '/^group = /d' -e 's#^\[custodian\]#&\nlisten = "0.0.0.0:7443"\nnames = ["custodian-c"]#' "$home/institution.toml"
    I c institution link --home $H --out link-c | tee link.said
    install -d -o 10002 -g 10002 -m 700 "$node/link"
    install -o 10002 -g 10002 -m 600 link-c/link.pem link-c/link-authority.pem "$node/link/"
    rm -r link-c
    sed -i -e '/^custodian = /d' "$node/node.toml"
    sed -n 's/^    //p' link.said >> "$node/node.toml"
  else
    sed -i -e 's#^socket = ""#socket = "/run/fieldfare/custodian.sock"#' -e 's#^group = ""#group = "fieldfare-socket"#' "$home/institution.toml"
    sed -i -e 's#^custodian = .*#custodian = "/run/fieldfare/custodian.sock"#' "$node/node.toml"
  fi
}

run() {
  cd "$WORK"
  compose up --detach
  for b in a b c; do patient admitted $b; patient inside custodian-$b institution status --ready --home $H; done
  STUDY=$(I a study check drafted.toml | sed -n 's/^id  *//p')
  install -m 644 drafted.toml "$(place coordinator)/drafted.toml"
  inside coordinator coordinator propose $HC/drafted.toml --home $HC
  for b in a b c; do
    patient arrived $b
    inside custodian-$b institution approve $STUDY --home $H --yes | tail -1
  done
  inside coordinator coordinator studies $STUDY --home $HC --refresh
  RUN=$(inside coordinator coordinator run start $STUDY --home $HC --force --json | sed -n 's/.*"run": "\([^"]*\)".*/\1/p')
  echo run $RUN
  inside coordinator coordinator runs $RUN --home $HC | tail -5
  for b in a b c; do patient delivered $b; done
  inside coordinator coordinator export transcript $RUN --home $HC --out $HC/run.transcript
  install -m 644 "$(place coordinator)/run.transcript" .
  I a audit transcript run.transcript --roster roster.signed | tee audited | tail -3
  shut_in
  echo "an audited model, and everything shut in: ok"
}

admitted() { podman logs "${P}_node-$1_1" 2>&1 | grep -q 'admitted as node'; }
arrived() { inside custodian-$1 institution studies --home $H | grep -q "${STUDY:0:8}"; }
delivered() { inside custodian-$1 institution models --home $H | grep -q "$RUN"; }

refused() { ! podman exec "$@" > /dev/null 2>&1 || { echo "expected a refusal, found none: $*"; return 1; }; }
reaches() { # container host port: whether TCP gets through
  podman exec "${P}_$1_1" /opt/fieldfare/bin/python -c "import socket; socket.create_connection(('$2', $3), 3)" > /dev/null 2>&1
}
apart() { ! reaches "$@" || { echo "expected no way from $1 to $2, found one"; return 1; }; }

shut_in() {
  local name
  for name in coordinator {custodian,node}-{a,b,c}; do
    refused "${P}_${name}_1" touch /written
    refused "${P}_${name}_1" touch /opt/fieldfare/written
    podman exec "${P}_${name}_1" grep -q '^CapEff:[[:space:]]*0*$' /proc/1/status
    podman exec "${P}_${name}_1" grep -q '^NoNewPrivs:[[:space:]]*1$' /proc/1/status
  done
  for name in a b; do
    test "$(podman exec "${P}_custodian-${name}_1" ls /sys/class/net)" = lo
    refused "${P}_node-${name}_1" ls $H/ledger
  done
  reaches node-a coordinator 8443; reaches node-c coordinator 8443
  reaches node-c custodian-c 7443
  apart node-a custodian-c 7443
  apart coordinator custodian-c 7443
  apart custodian-c coordinator 8443
}

down() { compose down --volumes; }

"$1"
