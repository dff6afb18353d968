package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"berth/registry"
)

func newBackupCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "backup [CONFIG]",
		Short: "Back up the metadata",
		Long: "Writes all metadata (names, accounts, tokens, keys) to the blob store, beside a running server or\n" +
			"without one; the server does the same by itself, every backup.interval. Where nothing has changed\n" +
			"since the last backup, none is made. With --to it goes to a new file instead: keep that where neither\n" +
			"this machine nor the store is lost with it. It holds password hashes and keys: who can read it can\n" +
			"become anybody. Blobs are not in it.",
		Example: "  berth backup\n  berth backup --to /mnt/elsewhere/berth.backup /etc/berth/config.yml",
		Args:    cobra.MaximumNArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			if file != "" {
				var err error
				if file, err = filepath.Abs(file); err != nil {
					return err
				}
			}
			return backUp(cmd, args, registry.BackupRequest{File: file})
		}),
	}
	cmd.Flags().StringVar(&file, "to", "", "new `FILE` to write, in the place of the blob store")
	addOutputFlag(cmd, "table")
	return cmd
}

func backUp(cmd *cobra.Command, args []string, q registry.BackupRequest) error {
	cfg, _, err := loadAndWarn(cmd, args)
	if err != nil {
		return err
	}
	var b registry.Backup
	err = withStored(cmd, cfg, false, func(by stored) (err error) {
		b, err = by.Backup(cmd.Context(), q)
		return err
	})
	if err != nil {
		return err
	}
	if b.Unchanged {
		warn(cmd, []string{"nothing has changed since this backup"})
	}
	return printResult(cmd, b, backupRows([]registry.Backup{b}))
}

func backupRows(list []registry.Backup) [][]string {
	rows := [][]string{{"BACKUP", "OF", "SIZE"}}
	for _, b := range list {
		rows = append(rows, []string{b.Name, ago(b.Created), byteCount(b.Size)})
	}
	return rows
}
