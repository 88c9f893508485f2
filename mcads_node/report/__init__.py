"""DICOM result objects: the Structured Report and the secondary captures."""
