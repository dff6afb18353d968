// Package meta is where names live: one SQL database that says which
// repositories, manifests, tags, uploads and accounts there are, and under which
// key of the blob store the bytes of a digest are found.
//
// There is no SQL outside this package. A [Tx] has one method for each question
// and each rule; what belongs together is one call of [DB.View] or [DB.Update].
// Updates that come at the same time share one commit, so that many clients wait
// for one disk write and not for each other's.
//
// # One set of queries
//
// The queries are written for SQLite and PostgreSQL alike: parameters are $1,
// times are whole microseconds since 1970, documents are JSON in text, and text
// sorts by byte. Each is a search in an index, or several one inside the other;
// PostgreSQL is told to plan nothing else, whatever it knows of the tables. What
// the two must be told in different words is a dialect, and what each does in
// its own way an engine.
//
// # Updates are one after the other
//
// What a transaction decides must hold when it commits: that a tag is new, that
// the children of an index are there, that a blob has no reader left. In SQLite
// there is one writer. With PostgreSQL a transaction that writes holds one
// advisory lock, the gate, so that there is one writer at a time on all nodes
// together, and every rule that holds here holds there, without a proof of its
// own and without a transaction that is called again.
//
// The other ways were SERIALIZABLE, where two pushes into one repository always
// conflict (it counts its manifests), and two pushes of anything into small
// tables mostly do, because PostgreSQL locks what was read by the page of an
// index; and locks by name, where every new rule must be proved against all
// others. With 16 clients on one machine the names of 480 images a second were
// written through the gate, 450 from two nodes (BenchmarkPush), and 400 under
// SERIALIZABLE, which began a transaction anew for each that it committed. The
// gate costs that writes do not grow with the nodes, and that their statements go
// to the server and back one after the other. A node commits up to 32 updates
// while it holds it, so that many clients wait for one disk write here too, and
// reads do not wait for it.
//
// A node that stands still inside the gate is thrown out by the server after 3
// seconds. Its transaction is lost, and it learns so.
package meta
