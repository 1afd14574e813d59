# A federation of three homes in a bare root, typed by an administrator: "found" makes it, "run" trains one
# study. bank-a and the coordinator are services; bank-b and bank-c are run by an ordinary user.
set -euo pipefail
as() { local user=$1; shift; setpriv --reuid="$user" --regid="$user" --init-groups --inh-caps=-all --no-new-privs env HOME=/tmp FIELDFARE_HOME= "$@"; }
I=/opt/fieldfare/institution/bin/fieldfare
C=/opt/fieldfare/coordinator/bin/fieldfare
H=/var/lib/fieldfare
HC=/var/lib/fieldfare-coordinator
W=/srv/work

found() {
  mkdir -p $W; chmod 777 $W; cd $W
  as ada /opt/fieldfare/institution/bin/python - <<'END'
import random
random.seed(1)
for bank in "abc":
    with open(f"{bank}.csv", "w") as file:
        print("customer,age,amount,fraud", file=file)
        for n in range(3000):
            bad = random.random() < .3
            print(f"{bank}{n},{random.randint(18, 90)},{random.gauss(5 if bad else 3, 1):.3f},{int(bad)}", file=file)
END
  as ada $I study new --records a.csv --label fraud --unit customer --epsilon 1 > drafted.toml
  as ada sed -i -e 's/^steps = .*/steps = 4/' drafted.toml
  as fieldfare-coordinator $C coordinator init "Bare" --home $HC --address 127.0.0.1:$PORT --local-port $LOCAL | tee /tmp/c.said
  COORDINATOR=$(sed -n 's/^coordinator  //p' /tmp/c.said)
  install -m 644 $HC/invitation.json $W/
  as fieldfare $I institution init --home $H --id bank-a
  for b in b c; do as ada $I institution init --home bank-$b --id bank-$b; done
  setup() { # user home bank
    as $1 bash -c "printf '\n[[records]]\npath = \"$W/$3.csv\"\nunit = \"customer\"\n' >> $2/institution.toml"
    as $1 $I institution policy allow drafted.toml --home $2 --yes > /dev/null
    as $1 $I institution join invitation.json --home $2 --fingerprint "$COORDINATOR" --out $W/$3.enrolment
  }
  setup fieldfare $H a; setup ada bank-b b; setup ada bank-c c
  chmod a+r *.enrolment
  as fieldfare-coordinator $C coordinator enrol a.enrolment b.enrolment c.enrolment --home $HC --yes
  as fieldfare-coordinator $C coordinator roster --home $HC --multiplicity 1
  install -m 644 $HC/roster.signed $W/
  accept() { as $1 $I institution roster accept roster.signed --home $2 --yes > /dev/null; }
  accept fieldfare $H; accept ada bank-b; accept ada bank-c
  code() { as $1 $I institution roster code --json --home $2 | sed -n 's/.*"roster": "\([0-9 ]*\)".*/\1/p'; }
  A=$(code fieldfare $H); B=$(code ada bank-b)
  as fieldfare $I institution roster meeting --reader bank-b --present bank-c --code "$B" --home $H --yes
  as ada $I institution roster meeting --reader bank-a --present bank-c --code "$A" --home bank-b --yes
  as ada $I institution roster meeting --reader bank-a --present bank-b --code "$A" --home bank-c --yes
  sed -i -e 's#^socket = ""#socket = "/run/fieldfare/custodian.sock"#' -e 's#^group = ""#group = "fieldfare-socket"#' $H/institution.toml
  N=/var/lib/fieldfare-node
  install -d -o fieldfare-node -g fieldfare-node -m 700 $N/keys
  install -o fieldfare-node -g fieldfare-node -m 600 $H/keys/node $N/keys/node
  install -o fieldfare-node -g fieldfare-node -m 644 $H/authority.pem $H/node.toml $N/
  sed -i -e 's#^custodian = .*#custodian = "/run/fieldfare/custodian.sock"#' -e 's#^state = .*#state = "/run/fieldfare-node/node.json"#' $N/node.toml
  grep -q ^custodian $N/node.toml || echo 'custodian = "/run/fieldfare/custodian.sock"' >> $N/node.toml
  grep -q ^state $N/node.toml || echo 'state = "/run/fieldfare-node/node.json"' >> $N/node.toml
}

run() {
  cd $W
  for b in b c; do as ada $I institution start --home bank-$b > $b.log 2>&1 & done
  n=0; until as ada $I institution check --home bank-b > b.check; do sleep 2; n=$((n+1)); [ $n -lt 60 ] || { cat b.check; exit 1; }; done
  STUDY=$(as ada $I study check drafted.toml | sed -n 's/^id  *//p')
  as fieldfare-coordinator $C coordinator propose $W/drafted.toml --home $HC
  for h in $H bank-b bank-c; do u=ada; [ $h = $H ] && u=fieldfare; n=0; until as $u $I institution studies --home $h | grep -q "${STUDY:0:8}"; do sleep 2; n=$((n+1)); [ $n -lt 40 ]; done; as $u $I institution approve $STUDY --home $h --yes | tail -1; done
  as fieldfare-coordinator $C coordinator approvals $STUDY --home $HC --refresh
  RUN=$(as fieldfare-coordinator $C coordinator run start $STUDY --home $HC --force --json | sed -n 's/.*"run": "\([^"]*\)".*/\1/p')
  echo run $RUN
  as fieldfare-coordinator $C coordinator run watch $RUN --home $HC | tail -5
  n=0; until as fieldfare $I institution models --home $H | grep $RUN; do sleep 2; n=$((n+1)); [ $n -lt 30 ]; done
  as fieldfare $I institution status --home $H --node-settings /var/lib/fieldfare-node/node.toml > a.status; grep -E '^custodian +serving' a.status; grep -E '^node' a.status; ! grep 'never ran' a.status
  as fieldfare-coordinator $C coordinator transcript export $RUN --home $HC --out $HC/run.transcript
  install -m 644 $HC/run.transcript $W/
  as ada $I audit transcript run.transcript --roster roster.signed | tee audited | tail -3
  as ada $I institution ledger verify --home bank-b | tail -1
  as fieldfare-node ls $H 2>/dev/null && exit 1
  as ada cat $H/policy.toml 2>/dev/null && exit 1
  echo "nothing escapes: ok"
  kill %1 %2; wait
}

"$1"
