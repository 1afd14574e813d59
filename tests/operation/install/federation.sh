# A federation of three homes in a bare root, typed by an administrator: "found" makes it, "run" trains a study,
# "interrupt" begins another and takes backups while it runs, "restore" makes two lost homes anew from them,
# "upgrade" opens the homes that an earlier version left. bank-a and the coordinator are services; bank-b and
# bank-c are run by an ordinary user.
set -euo pipefail
as() { local user=$1; shift; setpriv --reuid="$user" --regid="$user" --init-groups --inh-caps=-all --no-new-privs env HOME=/tmp FIELDFARE_HOME= "$@"; }
I=/opt/fieldfare/institution/bin/fieldfare
C=/opt/fieldfare/coordinator/bin/fieldfare
H=/var/lib/fieldfare
HC=/var/lib/fieldfare-coordinator
N=/var/lib/fieldfare-node
W=/srv/work
B=/srv/backups

fieldfare_of() { if [ "$1" = $H ]; then echo fieldfare; else echo ada; fi; } # home -> whose it is
bank() { local home=$1; shift; as "$(fieldfare_of "$home")" $I institution "$@" --home "$home"; }
coordinator() { as fieldfare-coordinator $C coordinator "$@" --home $HC; }
until_so() { local n=0; until "$@"; do sleep 2; n=$((n+1)); [ $n -lt 60 ] || { echo "never so: $*"; exit 1; }; done; }

accept_everywhere() { # every version that was published since, each in its turn
  mkdir -p $W/rosters
  for file in $(ls $HC/members/roster-*.signed | sort -V); do
    local version=$W/rosters/${file##*/}
    [ ! -e $version ] || continue
    install -m 644 $file $version
    for h in $H bank-b bank-c; do bank $h roster accept $version --yes > /dev/null; done
  done
  install -m 644 $HC/roster.signed $W/
}

code() { bank "$1" roster --json | sed -n 's/.*"roster": "\([0-9 ]*\)".*/\1/p'; }

meet() {
  A=$(code $H); B_CODE=$(code bank-b)
  bank $H roster compare bank-b --how meeting --present bank-c --code "$B_CODE" --yes
  bank bank-b roster compare bank-a --how meeting --present bank-c --code "$A" --yes
  bank bank-c roster compare bank-a --how meeting --present bank-b --code "$A" --yes
}

give_node_its_files() {
  install -d -o fieldfare-node -g fieldfare-node -m 700 $N/keys
  install -o fieldfare-node -g fieldfare-node -m 600 $H/keys/node $N/keys/node
  install -o fieldfare-node -g fieldfare-node -m 644 $H/authority.pem $H/node.toml $N/
  sed -i -e 's#^custodian = .*#custodian = "/run/fieldfare/custodian.sock"#' -e 's#^state = .*#state = "/run/fieldfare-node/node.json"#' $N/node.toml
  grep -q ^custodian $N/node.toml || echo 'custodian = "/run/fieldfare/custodian.sock"' >> $N/node.toml
  grep -q ^state $N/node.toml || echo 'state = "/run/fieldfare-node/node.json"' >> $N/node.toml
}

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
  as ada $I study new --records a.csv --label fraud --unit customer --epsilon 0.5 > drafted.toml
  coordinator init "Bare" --address 127.0.0.1:$PORT --local-port $LOCAL | tee /tmp/c.said
  COORDINATOR=$(sed -n 's/^coordinator  //p' /tmp/c.said)
  install -m 644 $HC/invitation.json $W/
  bank $H init --id bank-a
  for b in b c; do bank bank-$b init --id bank-$b; done
  setup() { # home bank
    as "$(fieldfare_of $1)" bash -c "printf '\n[[records]]\npath = \"$W/$2.csv\"\nunit = \"customer\"\n' >> $1/institution.toml"
    bank $1 policy drafted.toml --yes > /dev/null
    bank $1 join invitation.json --fingerprint "$COORDINATOR" --out $W/$2.enrolment
  }
  setup $H a; setup bank-b b; setup bank-c c
  chmod a+r *.enrolment
  coordinator enrol a.enrolment b.enrolment c.enrolment --yes
  coordinator roster --multiplicity 1
  accept_everywhere
  meet
  sed -i -e 's#^socket = ""#socket = "/run/fieldfare/custodian.sock"#' -e 's#^group = ""#group = "fieldfare-socket"#' $H/institution.toml
  give_node_its_files
  as ada $I recovery key $W/recovery.key
  chmod 644 recovery.key.pub
  as fieldfare $I recovery take $W/recovery.key.pub --home $H
  as fieldfare-coordinator $C recovery take $W/recovery.key.pub --home $HC
}

begin() { # name steps: start bank-b and bank-c, agree on a study, start a run of it
  cd $W
  as ada sed -e "s/^steps = .*/steps = $2/" -e "0,/^name = .*/s//name = \"$1\"/" drafted.toml | as ada tee $1.toml > /dev/null
  for b in b c; do bank bank-$b start > $b.log 2>&1 & done
  until_so connected
  STUDY=$(as ada $I study check $1.toml | sed -n 's/^id  *//p')
  coordinator propose $W/$1.toml
  for h in $H bank-b bank-c; do until_so offered $h; bank $h approve $STUDY --yes | tail -1; done
  coordinator studies $STUDY --refresh
  RUN=$(coordinator run start $STUDY --force --json | sed -n 's/.*"run": "\([^"]*\)".*/\1/p')
  echo run $RUN
}
connected() { bank bank-b check > b.check || { cat b.check >&2; false; }; }
offered() { bank "$1" studies | grep -q "${STUDY:0:8}"; }
delivered() { bank $H models | grep $RUN; }
made_steps() { coordinator runs --json | as ada /opt/fieldfare/institution/bin/python -c "
import json, sys
(row,) = [one for one in json.load(sys.stdin) if one['run'] == '$RUN']
sys.exit(not row['progress'] or row['progress']['step'] < $1)"; }

run() { # name
  begin "$1" 4
  coordinator runs $RUN | tail -5
  until_so delivered
  bank $H status --node-settings $N/node.toml > a.status; grep -E '^custodian +serving' a.status; grep -E '^node' a.status
  if grep 'never ran' a.status; then exit 1; fi
  coordinator export transcript $RUN --out $HC/$RUN.transcript
  install -m 644 $HC/$RUN.transcript $W/
  as ada $I audit transcript $RUN.transcript --roster roster.signed | tee audited | tail -3
  bank bank-b verify ledger | tail -1
  bank $H verify ledger | tail -1
  as fieldfare-node ls $H 2>/dev/null && exit 1
  as ada cat $H/policy.toml 2>/dev/null && exit 1
  echo "nothing escapes: ok"
  kill %1 %2; wait
}

interrupt() { # a run is under way when the machine dies
  begin interrupted 150
  until_so made_steps 2
  for user in fieldfare fieldfare-coordinator; do install -d -o $user -g $user -m 700 $B/$user; done
  as fieldfare $I backup $B/fieldfare/a.backup --home $H
  as fieldfare-coordinator $C backup $B/fieldfare-coordinator/c.backup --home $HC
  until_so made_steps 4
  echo $RUN > interrupted.run
  touch backed-up
  wait
}

restored() { # user home command...: as docs/backup.md has it for a service's home
  local user=$1 home=$2; shift 2
  install -o $user -g $user -m 600 $W/recovery.key $B/$user/recovery.key
  install -d -o $user -g $user -m 700 $home.restored
  as $user "$@" --recovery-key $B/$user/recovery.key --home $home.restored/home --reason "the machine died"
  mv $home.restored/home $home
  rmdir $home.restored
}

restore() {
  cd $W
  mv $H $H.lost; mv $HC $HC.lost
  install -o fieldfare -g fieldfare -m 600 $H.lost/ledger/ledger.sqlite.witness $B/fieldfare/witness
  restored fieldfare-coordinator $HC $C restore $B/fieldfare-coordinator/c.backup
  restored fieldfare $H $I restore $B/fieldfare/a.backup --witness $B/fieldfare/witness
  bank $H verify ledger | tail -1
  coordinator run resume "$(cat interrupted.run)" && exit 1
  bank $H join invitation.json --yes --out $W/again.enrolment
  chmod a+r again.enrolment
  coordinator roster --after $W/roster.signed
  coordinator remove bank-a --yes
  coordinator enrol again.enrolment --yes
  coordinator roster
  accept_everywhere
  meet
  give_node_its_files
}

upgrade() { # folder: the homes of an earlier version, in the hands of an ordinary user
  cd "$1"
  bank() { as ada $I institution "$@" --home bank-a; }
  coordinator() { as ada $C coordinator "$@" --home coordinator; }
  bank verify; bank status
  bank alerts --json > alerts.json
  coordinator runs; coordinator members
  RUN=$(coordinator runs --json | sed -n 's/.*"run": "\([^"]*\)".*/\1/p' | head -1)
  coordinator export transcript $RUN --out again.transcript
  as ada $I audit transcript again.transcript --roster coordinator/roster.signed | tail -3
  install -d -o ada -m 700 /dev/shm/bank-a # another file system, which `check` asks for
  install -o ada -m 600 bank-a/ledger/ledger.sqlite.witness /dev/shm/bank-a/witness
  sed -i 's|^witness = ""|witness = "/dev/shm/bank-a/witness"|' bank-a/institution.toml
  coordinator start > coordinator.log 2>&1 &
  bank start > bank.log 2>&1 &
  until_so served
  bank studies; as ada $I backup after.backup --home bank-a; as ada $C backup coordinator.after --home coordinator
  as ada $I restore after.backup --recovery-key recovery.key --rehearse
  kill %1 %2; wait
  echo "everything of before is served: ok"
}
served() { bank check > check.said || { cat check.said >&2; false; }; }

"$@"
