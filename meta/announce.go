package meta

import "context"

// Topics of announcements. What a node remembers of a topic may be wrong once it
// was announced. Unknown topics are those of a later version.
const (
	TopicAccounts = "accounts"
	TopicRobots   = "robots"
	TopicSSO      = "sso"
	TopicKeys     = "keys"
)

// change is Update for what is announced as a topic.
func (db *DB) change(ctx context.Context, topic string, fn func(*Tx) error) error {
	return db.Update(ctx, func(tx *Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return tx.Announce(topic, "")
	})
}
