package main

import (
	"log/slog"
	"time"

	"berth/auth"
	"berth/blob/azure"
)

// azureConfig has the parameters of Distribution's driver azure.
type azureConfig struct {
	AccountName      string      `yaml:"accountname,omitempty"`
	AccountKey       auth.Secret `yaml:"accountkey,omitempty"`
	ConnectionString auth.Secret `yaml:"connectionstring,omitempty"`
	Container        string      `yaml:"container,omitempty"`
	Credentials      struct {
		Type     string      `yaml:"type,omitempty"`
		ClientID string      `yaml:"clientid,omitempty"`
		TenantID string      `yaml:"tenantid,omitempty"`
		Secret   auth.Secret `yaml:"secret,omitempty"`
	} `yaml:"credentials,omitempty"`
	Realm         string        `yaml:"realm,omitempty"`
	ServiceURL    string        `yaml:"serviceurl,omitempty"`
	RootDirectory string        `yaml:"rootdirectory,omitempty"`
	MaxRetries    int           `yaml:"max_retries,omitempty"`
	RetryDelay    time.Duration `yaml:"retry_delay,omitempty"`
	SkipVerify    bool          `yaml:"skipverify,omitempty"`
	// What says how to wait for copies is accepted and of no use: nothing is
	// copied.
	CopyStatusRetry any `yaml:"copy_status_poll_max_retry,omitempty"`
	CopyStatusDelay any `yaml:"copy_status_poll_delay,omitempty"`
}

func (a *azureConfig) options(log *slog.Logger) azure.Options {
	return azure.Options{
		AccountName: a.AccountName, AccountKey: a.AccountKey, ConnectionString: a.ConnectionString, Container: a.Container,
		Type: a.Credentials.Type, ClientID: a.Credentials.ClientID, TenantID: a.Credentials.TenantID, ClientSecret: a.Credentials.Secret,
		Realm: a.Realm, ServiceURL: a.ServiceURL, RootDirectory: a.RootDirectory,
		MaxRetries: a.MaxRetries, RetryDelay: a.RetryDelay, SkipVerify: a.SkipVerify, Log: log,
	}
}

func (a *azureConfig) check(add func(path, format string, args ...any)) {
	o := a.options(nil)
	if err := o.Check(); err != nil {
		add("storage.azure", "%v", err)
	}
}
