------------------------------- MODULE watch -------------------------------
(***************************************************************************)
(* One watch of one client on one member, over a log that others write.   *)
(* Every revision is a change; the watch is about some of them.  The same *)
(* model, looked at state by state in every test run, is                  *)
(* packages/simulator/src/models/watch-model.ts.                           *)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets

CONSTANTS Revisions,  \* how many there will be
          WireMax,    \* messages on their way above which the client does not keep up
          Start       \* the revision asked for

VARIABLES log,        \* by revision: whether the watch is about it
          applied,    \* what the member has applied of it
          compacted,  \* below this the member's history is gone
          watcher,    \* "none", "synced" (told as things happen) or "behind" (goes on from next)
          next,
          wire,       \* on its way to the client, oldest first
          resume,     \* from where the client asks anew
          got,        \* revisions of the events it got
          vouched,    \* it was told that all up to here has been sent
          skipped     \* it was told that all before this is lost to it

vars == <<log, applied, compacted, watcher, next, wire, resume, got, vouched, skipped>>
client == <<resume, got, vouched, skipped>>

Init == /\ log = <<>> /\ applied = 0 /\ compacted = 0
        /\ watcher = "none" /\ next = 0 /\ wire = <<>>
        /\ resume = Start /\ got = <<>> /\ vouched = 0 /\ skipped = 0

Write == /\ Len(log) < Revisions
         /\ \E isWatched \in BOOLEAN : log' = Append(log, isWatched)
         /\ UNCHANGED <<applied, compacted, watcher, next, wire, client>>

(* A watcher that keeps up is told within the write itself; one that does not remembers from where to go on. *)
Apply == /\ applied < Len(log)
         /\ applied' = applied + 1
         /\ IF watcher # "synced" \/ applied' < next \/ ~log[applied']
            THEN UNCHANGED <<watcher, next, wire>>
            ELSE IF Len(wire) >= WireMax
            THEN watcher' = "behind" /\ next' = applied' /\ UNCHANGED wire
            ELSE next' = 0 /\ wire' = Append(wire, <<"event", applied'>>) /\ UNCHANGED watcher
         /\ UNCHANGED <<log, compacted, client>>

(* A snapshot jumps over what lies between.  Whoever was synced looks it up; a watch on the future still waits for it. *)
Install == /\ applied + 1 < Len(log)
           /\ applied' = Len(log)
           /\ IF watcher # "synced" THEN UNCHANGED <<watcher, next>>
              ELSE watcher' = "behind" /\ next' = IF next > applied THEN next ELSE applied + 1
           /\ UNCHANGED <<log, compacted, wire, client>>

Compact == /\ \E revision \in compacted + 1 .. applied : compacted' = revision
           /\ UNCHANGED <<log, applied, watcher, next, wire, client>>

CatchUp == /\ watcher = "behind" /\ next > applied
           /\ watcher' = "synced"
           /\ next' = IF next > applied + 1 THEN next ELSE 0
           /\ UNCHANGED <<log, applied, compacted, wire, client>>

(* It may begin at the compacted revision itself: what was deleted there is kept for it. *)
TooLate == /\ watcher = "behind" /\ next <= applied /\ next < compacted
           /\ watcher' = "none" /\ next' = 0
           /\ wire' = Append(wire, <<"compacted", compacted>>)
           /\ UNCHANGED <<log, applied, compacted, client>>

Feed == /\ watcher = "behind" /\ next <= applied /\ next >= compacted /\ Len(wire) < WireMax
        /\ next' = next + 1
        /\ wire' = IF log[next] THEN Append(wire, <<"event", next>>) ELSE wire
        /\ UNCHANGED <<log, applied, compacted, watcher, client>>

(* Neither for a watcher that is behind, nor for one that waits for the future. *)
Vouch == /\ watcher = "synced" /\ next <= applied /\ Len(wire) < WireMax
         /\ wire' = Append(wire, <<"bookmark", applied>>)
         /\ UNCHANGED <<log, applied, compacted, watcher, next, client>>

Take == /\ wire # <<>>
        /\ wire' = Tail(wire)
        /\ LET kind == Head(wire)[1]
               revision == Head(wire)[2]
           IN CASE kind = "event" ->
                     got' = Append(got, revision) /\ resume' = revision + 1 /\ UNCHANGED <<vouched, skipped>>
                [] kind = "bookmark" ->
                     vouched' = (IF revision > vouched THEN revision ELSE vouched)
                     /\ resume' = revision + 1 /\ UNCHANGED <<got, skipped>>
                [] kind = "compacted" ->
                     skipped' = revision /\ resume' = revision /\ UNCHANGED <<got, vouched>>
        /\ UNCHANGED <<log, applied, compacted, watcher, next>>

Lose == /\ watcher # "none"
        /\ watcher' = "none" /\ next' = 0 /\ wire' = <<>>
        /\ UNCHANGED <<log, applied, compacted, client>>

Ask == /\ watcher = "none" /\ wire = <<>>
       /\ watcher' = IF resume > applied THEN "synced" ELSE "behind"
       /\ next' = resume
       /\ UNCHANGED <<log, applied, compacted, wire, client>>

Next == Write \/ Apply \/ Install \/ Compact \/ CatchUp \/ TooLate \/ Feed \/ Vouch \/ Take \/ Lose \/ Ask

Spec == Init /\ [][Next]_vars

Reached == IF got = <<>> \/ vouched > got[Len(got)] THEN vouched ELSE got[Len(got)]

Ordered   == \A i, j \in 1 .. Len(got) : i < j => got[i] < got[j]
AskedFor  == \A i \in 1 .. Len(got) : got[i] >= Start /\ log[got[i]]
Resumable == resume >= Start
Complete  == \A revision \in 1 .. Reached :
               (revision >= Start /\ revision >= skipped /\ log[revision]) => \E i \in 1 .. Len(got) : got[i] = revision

Invariant == Ordered /\ AskedFor /\ Resumable /\ Complete
=============================================================================
