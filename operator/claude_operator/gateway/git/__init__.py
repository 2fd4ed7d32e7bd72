"""Smart HTTP on its way through: one repository, one branch to push to, credentials added here."""
