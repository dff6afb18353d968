package meta

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// channel is the name under which PostgreSQL tells all nodes of announcements.
	channel = "berth"
	// MaxAnnouncement is how many bytes topic and payload of an announcement may
	// have together.
	MaxAnnouncement = 7900

	// Who listens notices after heartbeat and answerTime that the server hangs. It
	// connects anew every connectTime and pause, at the latest.
	heartbeat  = 2 * time.Second
	answerTime = 2 * time.Second
	pause      = 500 * time.Millisecond
)

// Announce tells all nodes that listen, once the transaction is committed. With
// SQLite there are none. The topic is a word, and what is announced twice in one
// transaction may be told once.
func (tx *Tx) Announce(topic, payload string) error {
	if tx.conn.dialect.announce == "" {
		return nil
	}
	text := topic + "\n" + payload
	if len(text) > MaxAnnouncement {
		return tx.fail("announce "+topic, fmt.Errorf("%d bytes are too many", len(text)))
	}
	_, err := tx.exec("announce "+topic, tx.conn.dialect.announce, text)
	return err
}

func (e *postgresEngine) listen(ctx context.Context, heard func(topic, payload string), lost func()) {
	for ctx.Err() == nil {
		_ = e.hear(ctx, heard, lost) // which ends with an error, and whoever asks the database learns the same
		if ctx.Err() != nil {
			return
		}
		lost()
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// hear listens until the connection is lost, or ctx is over.
func (e *postgresEngine) hear(ctx context.Context, heard func(topic, payload string), lost func()) error {
	c, err := e.connectListener(ctx)
	if err != nil {
		return err
	}
	defer c.PgConn().Close(context.Background())
	lost() // what was announced before
	for {
		n, err := waitFor(ctx, c)
		switch {
		case err == nil:
			topic, payload, _ := strings.Cut(n.Payload, "\n")
			heard(topic, payload)
		case ctx.Err() == nil && pgconn.Timeout(err):
			err = answer(ctx, c)
		}
		if err != nil {
			return err
		}
	}
}

// connectListener makes a connection of its own.
func (e *postgresEngine) connectListener(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	config := e.config.Copy()
	if err := e.options.password(ctx, config); err != nil {
		return nil, err
	}
	c, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if _, err := c.Exec(ctx, "LISTEN "+channel); err != nil {
		return nil, errors.Join(err, c.PgConn().Close(context.Background()))
	}
	return c, nil
}

// waitFor waits for an announcement, and not for long.
func waitFor(ctx context.Context, c *pgx.Conn) (*pgconn.Notification, error) {
	ctx, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	return c.WaitForNotification(ctx)
}

// answer asks whether the server is still there.
func answer(ctx context.Context, c *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	return c.Ping(ctx)
}
