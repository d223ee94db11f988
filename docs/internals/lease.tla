------------------------------- MODULE lease -------------------------------
(***************************************************************************)
(* One lease, members that lead one after the other, and a clock that     *)
(* both can trust to count.  The same model, looked at state by state in  *)
(* every test run, is packages/simulator/src/models/lease-model.ts.        *)
(***************************************************************************)
EXTENDS Integers

CONSTANTS Ttl, TimeMax, TermMax

None == -1

VARIABLES time, term,
          due,        \* by the leader's count the lease ends then; None while its term has not begun
          former,     \* the same of a leader that was replaced and has not heard of it; None where there is none
          isPending,  \* the end of the lease is in the leader's log and not committed
          isAlive,
          renewedAt,  \* when the last renewal was answered that the client got
          endedAt

vars == <<time, term, due, former, isPending, isAlive, renewedAt, endedAt>>

Init == /\ time = 0 /\ term = 1 /\ due = Ttl /\ former = None
        /\ isPending = FALSE /\ isAlive = TRUE /\ renewedAt = 0 /\ endedAt = None

Tick == /\ time < TimeMax + 2 * Ttl /\ (time < TimeMax \/ due # None)
        /\ time' = time + 1
        /\ UNCHANGED <<term, due, former, isPending, isAlive, renewedAt, endedAt>>

(* Whether the new leader's log has the pending end depends on who voted. *)
Elect == /\ term < TermMax /\ time <= TimeMax
         /\ term' = term + 1 /\ due' = None /\ former' = due
         /\ isPending' \in IF isPending THEN BOOLEAN ELSE {FALSE}
         /\ UNCHANGED <<time, isAlive, renewedAt, endedAt>>

Hear == former # None /\ former' = None
        /\ UNCHANGED <<time, term, due, isPending, isAlive, renewedAt, endedAt>>

End == /\ isPending' = FALSE /\ isAlive' = FALSE
       /\ endedAt' = IF isAlive THEN time ELSE endedAt

(* The first entry of the term is committed and applied, hence everything before it: only now does the leader count. *)
Begin == /\ due = None /\ due' = time + Ttl
         /\ IF isPending THEN End ELSE UNCHANGED <<isPending, isAlive, endedAt>>
         /\ UNCHANGED <<time, term, former, renewedAt>>

(* The former leader may do neither of the next two: a majority does not confirm it, and what it says reaches nobody. *)
Propose == /\ isAlive /\ due # None /\ time >= due /\ ~isPending
           /\ isPending' = TRUE
           /\ UNCHANGED <<time, term, due, former, isAlive, renewedAt, endedAt>>

Renew == /\ isAlive /\ due # None /\ time < due /\ time <= TimeMax
         /\ due' = time + Ttl /\ renewedAt' = time
         /\ UNCHANGED <<time, term, former, isPending, isAlive, endedAt>>

Commit == isPending /\ due # None /\ End /\ UNCHANGED <<time, term, due, former, renewedAt>>

Next == Tick \/ Elect \/ Hear \/ Begin \/ Propose \/ Renew \/ Commit

Spec == Init /\ [][Next]_vars /\ WF_vars(Tick) /\ WF_vars(Begin) /\ WF_vars(Propose) /\ WF_vars(Commit)

NeverEarly == ~isAlive => endedAt >= renewedAt + Ttl
Ends == <>(~isAlive)
=============================================================================
