"""Images and tars of every kind, odd, damaged and hostile ones too, made by code; and what each of them gets."""
