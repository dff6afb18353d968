package meta

// Setting returns what the database says about itself under name.
// Errors: ErrNotExist.
func (tx *Tx) Setting(name string) (string, error) {
	var value string
	err := tx.row("read setting", `SELECT value FROM settings WHERE name = $1`, []any{name}, &value)
	return value, err
}

// PutSetting sets it.
func (tx *Tx) PutSetting(name, value string) error {
	_, err := tx.exec("write setting",
		`INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}
