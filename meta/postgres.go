package meta

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// PostgresOptions are the choices of OpenPostgres.
type PostgresOptions struct {
	// URL is as libpq takes it: postgres://user@host1,host2/database?sslmode=….
	// What it leaves out comes from PGHOST, ~/.pgpass and so on.
	URL string
	// PasswordFile holds the password, if the URL does not. It is read for each
	// connection, so that the password may be changed.
	PasswordFile string
	// MaxConnections is how many connections there are at most, 10 when 0. One
	// writes, one listens, and the others read.
	MaxConnections int
}

const (
	// MinConnections is the least that PostgresOptions.MaxConnections may be.
	MinConnections     = 3
	defaultConnections = 10

	minServerVersion = 140000 // the first that tells whether it is a standby

	// A server that hangs costs a caller at most waitTime and connectTime, or
	// statementTime and connectTime: less than 10 seconds.
	waitTime      = 3 * time.Second         // for a connection that is free
	connectTime   = 4 * time.Second         // to make one
	hostTime      = 3 * time.Second         // of it, for one host
	statementTime = 4500 * time.Millisecond // for the answer to a statement
	// The server itself ends a statement after serverTime, and after idleTime the
	// transaction of a node that hangs, for which the others wait.
	serverTime = 4 * time.Second
	idleTime   = 3 * time.Second
	// migrateTime is how long a node waits for others that bring the tables up to
	// date, and does so itself.
	migrateTime = 5 * time.Minute

	// The numbers of advisory locks. Whoever writes holds gate, whoever changes
	// the tables holds tables.
	gate   = 0x6265727468_01
	tables = 0x6265727468_02
)

func postgresDialect() *dialect {
	return &dialect{
		beginWrite: "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock(" + strconv.Itoa(gate) + ")",
		beginRead:  "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
		collation:  ` COLLATE "C"`,
		catalog: `SELECT c.table_name::text, c.column_name::text, c.data_type = 'boolean', c.is_identity = 'YES'
			FROM information_schema.columns c JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name
			WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE' AND c.table_name <> 'goose_db_version'
			ORDER BY c.table_name COLLATE "C", c.ordinal_position`,
		references: postgresReferences,
		triggers: `SELECT DISTINCT format('ALTER TABLE %I DISABLE TRIGGER USER', c.relname), format('ALTER TABLE %I ENABLE TRIGGER USER', c.relname)
			FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
			WHERE NOT t.tgisinternal AND c.relnamespace = current_schema()::regnamespace`,
		announce:  "SELECT pg_notify('" + channel + "', $1)",
		unicode:   true,
		batch:     32,
		wait:      waitTime,
		statement: statementTime,
		name:      namePostgres,
	}
}

// postgresEngine is a database that other nodes have open too.
type postgresEngine struct {
	dialect     *dialect
	options     PostgresOptions
	config      *pgx.ConnConfig
	write, read *sql.DB
}

// OpenPostgres opens the database that o.URL names, which is there already, and
// brings its tables up to date. Any number of nodes may have it open, some of
// them with the previous version of the program.
//
// A goroutine writes until Close. No error holds the password.
func OpenPostgres(ctx context.Context, o PostgresOptions) (*DB, error) {
	config, err := o.parse()
	if err != nil {
		return nil, err
	}
	if err := prepareTables(ctx, config, o); err != nil {
		return nil, fmt.Errorf("open the PostgreSQL database: %w", namePostgres(err))
	}
	readers := cmp.Or(o.MaxConnections, defaultConnections) - 2
	e := &postgresEngine{
		dialect: postgresDialect(),
		options: o,
		config:  config,
		write:   stdlib.OpenDB(*config, stdlib.OptionBeforeConnect(o.password), stdlib.OptionAfterConnect(settle("SET synchronous_commit = on"))),
		read:    stdlib.OpenDB(*config, stdlib.OptionBeforeConnect(o.password), stdlib.OptionAfterConnect(settle("SET default_transaction_read_only = on"))),
	}
	e.write.SetMaxOpenConns(1)
	e.read.SetMaxOpenConns(readers)
	return start(e, e.dialect, readers), nil
}

// Check returns an error if o is not what OpenPostgres takes, an *fs.PathError
// for a file that the URL names. It asks no server.
func (o PostgresOptions) Check() error {
	_, err := o.parse()
	return err
}

// Protected reports whether every connection is encrypted, to a server whose
// certificate is verified, or stays on this machine.
func (o PostgresOptions) Protected() bool {
	config, err := o.parse()
	if err != nil {
		return false
	}
	if !isProtected(config.Host, config.TLSConfig) {
		return false
	}
	for _, f := range config.Fallbacks {
		if !isProtected(f.Host, f.TLSConfig) {
			return false
		}
	}
	return true
}

// isProtected knows how the driver verifies a certificate without the name in it
// (verify-ca): itself.
func isProtected(host string, c *tls.Config) bool {
	addr := net.ParseIP(host)
	local := strings.HasPrefix(host, "/") || host == "localhost" || addr != nil && addr.IsLoopback()
	return local || c != nil && (!c.InsecureSkipVerify || c.VerifyPeerCertificate != nil)
}

// parse returns what o stands for. Errors of the parser may hold parts of the
// URL, and are not told.
func (o PostgresOptions) parse() (*pgx.ConnConfig, error) {
	if o.MaxConnections != 0 && o.MaxConnections < MinConnections {
		return nil, fmt.Errorf("%d connections are too few: %d is the least", o.MaxConnections, MinConnections)
	}
	config, err := pgx.ParseConfig(o.URL)
	if err != nil {
		var file *fs.PathError
		if errors.As(err, &file) {
			return nil, fmt.Errorf("the URL of the PostgreSQL database: %w", file)
		}
		return nil, errors.New("the URL of the PostgreSQL database must be as libpq takes it, such as postgres://berth@db.example.org/berth?sslmode=verify-full")
	}
	if config.ConnectTimeout == 0 || config.ConnectTimeout > connectTime {
		config.ConnectTimeout = hostTime
	}
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 3 * time.Second, Count: 3}}
	config.DialFunc = dialer.DialContext
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "berth"
	}
	for name, value := range parameters() {
		config.RuntimeParams[name] = value
	}
	asked := config.ValidateConnect
	config.ValidateConnect = func(ctx context.Context, c *pgconn.PgConn) error { return validate(ctx, c, asked) }
	return config, nil
}

// parameters are those of every connection. The queries are written as searches
// in indexes, one inside the other, which is right for tables of any size: so
// nothing else is planned, whether or not there are statistics yet.
func parameters() map[string]string {
	return map[string]string{
		"statement_timeout":                   strconv.FormatInt(serverTime.Milliseconds(), 10),
		"idle_in_transaction_session_timeout": strconv.FormatInt(idleTime.Milliseconds(), 10),
		"tcp_keepalives_idle":                 "10",
		"tcp_keepalives_interval":             "3",
		"tcp_keepalives_count":                "3",
		"tcp_user_timeout":                    "10000",
		"client_encoding":                     "UTF8",
		"enable_seqscan":                      "off",
		"enable_bitmapscan":                   "off",
		"enable_hashjoin":                     "off",
		"enable_mergejoin":                    "off",
		"jit":                                 "off",
	}
}

// validate refuses a server that may not have what was committed last, or that
// asked, which is nil or what the URL says, refuses. Then the next host is tried.
func validate(ctx context.Context, c *pgconn.PgConn, asked pgconn.ValidateConnectFunc) error {
	if c.ParameterStatus("in_hot_standby") == "on" {
		return errors.New("the server is a standby: name the primary, or all hosts")
	}
	if asked != nil {
		return asked(ctx, c)
	}
	return nil
}

// settle returns what follows a connection: a statement.
func settle(statement string) func(context.Context, *pgx.Conn) error {
	return func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, statement)
		return err
	}
}

// password reads the password, if it is in a file.
func (o PostgresOptions) password(_ context.Context, config *pgx.ConnConfig) error {
	if o.PasswordFile == "" {
		return nil
	}
	data, err := os.ReadFile(o.PasswordFile)
	if err != nil {
		return fmt.Errorf("read the password of the database: %w", err)
	}
	config.Password = string(bytes.TrimRight(data, "\r\n"))
	return nil
}

// prepareTables checks the server, and brings the tables up to date: one node
// after the other.
func prepareTables(ctx context.Context, config *pgx.ConnConfig, o PostgresOptions) error {
	ctx, cancel := context.WithTimeout(ctx, migrateTime)
	defer cancel()
	config = config.Copy()
	config.RuntimeParams["statement_timeout"] = strconv.FormatInt(migrateTime.Milliseconds(), 10)
	pool := stdlib.OpenDB(*config, stdlib.OptionBeforeConnect(o.password))
	defer pool.Close()
	lock, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer lock.Close() // and pool.Close ends the session, with its locks
	var version int
	var encoding string
	err = lock.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_encoding')`).Scan(&version, &encoding)
	switch {
	case err != nil:
		return err
	case version < minServerVersion:
		return fmt.Errorf("the server is of version %d, and berth needs PostgreSQL %d or later", version/10000, minServerVersion/10000)
	case encoding != "UTF8":
		return fmt.Errorf("the database has the encoding %s: make it with ENCODING 'UTF8'", encoding)
	}
	if _, err := lock.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, int64(tables)); err != nil {
		return err
	}
	return migrate(ctx, pool, goose.DialectPostgres)
}
