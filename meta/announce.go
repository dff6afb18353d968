package meta

import (
	"context"
	"strings"

	"berth/oci"
)

// Topics of announcements. What is remembered of a topic may be wrong once it
// was announced. Unknown topics are those of a later version.
const (
	TopicNames    = "names" // with a Change as payload
	TopicAccounts = "accounts"
	TopicRobots   = "robots"
	TopicSSO      = "sso"
	TopicKeys     = "keys"
)

// A Change says which names are not what they were. With a Repository, the blob
// Digest cannot be read there any more; without one, the manifest Digest is gone
// from some repository. The zero Change is about all names.
type Change struct {
	Repository oci.Name
	Digest     oci.Digest
}

// ParseChange returns what the payload of an announcement stands for. What cannot
// be read is about all names.
func ParseChange(payload string) Change {
	repo, digest, ok := strings.Cut(payload, " ")
	if !ok {
		return Change{}
	}
	return Change{oci.Name(repo), oci.Digest(digest)}
}

// announce tells all nodes of a change of names.
func (tx *Tx) announce(c Change) error {
	if c == (Change{}) {
		return tx.Announce(TopicNames, "")
	}
	return tx.Announce(TopicNames, string(c.Repository)+" "+string(c.Digest))
}

// change is Update for what is announced as a topic.
func (db *DB) change(ctx context.Context, topic string, fn func(*Tx) error) error {
	return db.Update(ctx, func(tx *Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return tx.Announce(topic, "")
	})
}
